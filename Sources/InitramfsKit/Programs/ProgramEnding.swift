import CMandosSystem
public import POSIXKit

/// The end of a program: an exit status or a signal.
public enum ProgramEnding: Sendable {
    case exit(ExitStatus)
    /// By the signal that was received, so that the program's parent sees the reason.
    case signal(Int32)

    public func end() -> Never {
        switch self {
        case .exit(let status): status.exit()
        case .signal(let number): dieOf(number)
        }
    }

    /// Runs `body` as the whole program, and ends it. All cleanup is done when `body` returns.
    public static func of(
        _ program: StaticString, _ body: (borrowing StopSignals) throws(SystemError) -> ProgramEnding
    ) -> Never {
        do throws(SystemError) {
            let stop = try StopSignals()
            try body(stop).end()
        } catch {
            complain(program, "\(error)")
            ExitStatus.osError.exit()
        }
    }
}
