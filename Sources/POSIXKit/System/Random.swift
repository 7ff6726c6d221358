import CMandosSystem

/// A number from 0 to `limit` - 1, each as likely.
public func randomNumber(below limit: UInt32) -> UInt32 { arc4random_uniform(limit) }
