/// The version of every program of this package.
public let mandosVersion = "0.1.0"
