import POSIXKit

/// A program that shows something nice while the machine boots, and asks for passwords: how it is spoken to.
///
/// None of them can be told to stop asking. So it is ended, and started again.
///
/// Source: plymouth(8mandos), splashy(8mandos), usplash(8mandos), "DESCRIPTION" and "FILES".
public struct SplashScreen: Sendable {
    /// A program and its arguments, without its own name.
    public struct Command: Sendable {
        let path: String
        let arguments: [String]

        public init(_ path: String, _ arguments: [String]) {
            self.path = path
            self.arguments = arguments
        }
    }

    /// How the daemon is told to end.
    public enum Quitting: Sendable {
        case command(Command)
        case terminate
    }

    /// What the daemon is started with again, without its own name.
    public enum Arguments: Sendable {
        case asBefore
        case these([String])
    }

    /// What is done when the daemon runs again.
    public enum Showing: Sendable {
        case nothing
        /// First the process that was started ends, since it goes into the background by itself.
        case command(Command)
        case write([UInt8], toFIFO: String)
    }

    let daemon: String
    let ping: Command?
    let question: Command?
    let quitting: Quitting
    let arguments: Arguments
    let showing: Showing

    /// `daemon` is the path of its program. `ping` succeeds if it runs; without, the process is looked for. `question`
    /// prints the password; without, we ask by ourselves.
    public init(
        daemon: String, ping: Command? = nil, question: Command? = nil, quitting: Quitting = .terminate,
        arguments: Arguments, showing: Showing = .nothing
    ) {
        self.daemon = daemon
        self.ping = ping
        self.question = question
        self.quitting = quitting
        self.arguments = arguments
        self.showing = showing
    }
}

extension DiskToUnlock {
    /// As it is put into a question: " /dev/sda2 (root)", or nothing.
    public var names: String { (source.map { " " + $0 } ?? "") + (name.map { " (" + $0 + ")" } ?? "") }
}
