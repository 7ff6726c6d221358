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
    ///
    /// A program that prints a password `endsWithReader`: if the process that reads the password was killed, it could not
    /// end us, and we would go on to read what is typed.
    public static func of(
        _ program: StaticString, endsWithReader: Bool = true,
        _ body: (borrowing StopSignals) throws(SystemError) -> ProgramEnding
    ) -> Never {
        do throws(SystemError) {
            let stop = try StopSignals(endingWithReader: endsWithReader)
            try body(stop).end()
        } catch {
            complain(program, "\(error)")
            ExitStatus.osError.exit()
        }
    }
}
