/// How a process ended. Source: wait(2).
public enum TerminationStatus: Equatable, Sendable {
    case exit(status: Int32)
    case signal(Int32)

    public static let success = exit(status: 0)

    public var isSuccess: Bool { self == .success }
}
