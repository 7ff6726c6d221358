import CMandosSystem

/// The exit statuses of our programs. Source: sysexits.h(3head).
public enum ExitStatus: Int32, Sendable {
    case success = 0
    case usage = 64
    case dataError = 65
    case noInput = 66
    case unavailable = 69
    case software = 70
    case osError = 71
    case osFile = 72
    case ioError = 74
    /// A later attempt may succeed.
    case temporaryFailure = 75
    case configuration = 78

    public func exit() -> Never { CMandosSystem.exit(rawValue) }

    public static func exitProgram(_ status: Int32) -> Never { CMandosSystem.exit(status) }

    public static let standardInput = STDIN_FILENO
    public static let standardOutput = STDOUT_FILENO
    public static let standardError = STDERR_FILENO
}
