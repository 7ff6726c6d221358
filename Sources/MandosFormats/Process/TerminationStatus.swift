/// How a process ended. Source: wait(2).
public enum TerminationStatus: Equatable, Sendable, CustomStringConvertible {
    case exit(status: Int32)
    case signal(Int32)

    public static let success = exit(status: 0)

    public var isSuccess: Bool { self == .success }

    /// Such as "exit status 1" or "signal 9".
    public var description: String {
        switch self {
        case .exit(let status): "exit status " + String(status)
        case .signal(let number): "signal " + String(number)
        }
    }
}
