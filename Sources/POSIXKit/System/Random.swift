import CMandosSystem

/// A random number from 0 to `limit` - 1, uniformly distributed.
public func randomNumber(below limit: UInt32) -> UInt32 { arc4random_uniform(limit) }
