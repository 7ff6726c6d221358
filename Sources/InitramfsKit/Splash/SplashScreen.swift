import POSIXKit

/// A program that shows a splash screen during boot and prompts for passwords, with the commands that control it.
///
/// No splash screen has a command to withdraw a prompt; so the program is ended and started again.
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

    /// The way to end the daemon.
    public enum Quitting: Sendable {
        case command(Command)
        case terminate
    }

    /// The arguments for starting the daemon again, without its own name.
    public enum Arguments: Sendable {
        case asBefore
        case these([String])
    }

    /// The action once the daemon is running again.
    public enum Showing: Sendable {
        case nothing
        /// Run after the process that was started has ended, since the daemon moves to the background.
        case command(Command)
        case write([UInt8], toFIFO: String)
    }

    let daemon: String
    let ping: Command?
    let question: Command?
    let quitting: Quitting
    let arguments: Arguments
    let showing: Showing

    /// Describes a splash screen. `daemon` is its program's path. `ping` succeeds if it is running; without it, only
    /// the process is looked for. `question` prints the password; without it, we prompt ourselves.
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

extension SplashScreen {
    /// How long restoring the screen may take at most, in milliseconds, after the program that prompts is told to end.
    public static var longestRestoration: Int64 { SplashHelper.longestRestoration }
}

extension DiskToUnlock {
    /// The disk's names as part of a prompt: " /dev/sda2 (root)", or an empty string.
    public var names: String { (source.map { " " + $0 } ?? "") + (name.map { " (" + $0 + ")" } ?? "") }
}
