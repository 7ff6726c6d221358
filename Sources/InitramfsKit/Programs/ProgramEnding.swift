import CMandosSystem
public import POSIXKit

/// How a program ends.
public enum ProgramEnding: Sendable {
    case exit(ExitStatus)
    /// As a signal has asked for, so that whoever waits for the program sees why.
    case signal(Int32)

    public func end() -> Never {
        switch self {
        case .exit(let status): status.exit()
        case .signal(let number): dieOf(number)
        }
    }

    /// Runs all of a program, and ends it. Everything that must be undone is, once `body` is back.
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
