/// The version of every program of this package.
public let mandosVersion = "1.9.0"
