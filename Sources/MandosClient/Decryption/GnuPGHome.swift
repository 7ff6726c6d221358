import MandosFormats
public import POSIXKit

/// A private home directory for GnuPG. Its end removes the directory and ends the agent that GnuPG started there.
public final class GnuPGHome {
    private let directory: TemporaryDirectory

    public var path: String { directory.path }

    /// Makes a home in the first of `places` where that is possible.
    public init(in places: [String]) throws(SystemError) {
        directory = try TemporaryDirectory(in: places, prefix: "mandos-gnupg")
    }

    deinit { endAgent() }

    /// How long the agent may take to end, in milliseconds.
    private static let timeLimit: Int64 = 1000

    /// Tells the agent to end, in its own protocol (Assuan): there may be no `gpgconf` in the initramfs.
    private func endAgent() {
        do throws(SystemError) {
            let connection = try StreamSocket.connect(toPath: path + "/S.gpg-agent")
            _ = try connection.send(Array("KILLAGENT\n".utf8))
            try Self.waitForEnd(of: connection)
        } catch {
            // There is no agent, or it has just ended.
        }
    }

    /// The agent greets, answers, and closes the connection.
    private static func waitForEnd(of connection: borrowing StreamSocket) throws(SystemError) {
        let deadline = BootTime.now().after(milliseconds: timeLimit)
        var buffer = [UInt8](repeating: 0, count: 256)
        while BootTime.now() < deadline, try connection.receive(into: &buffer) != .end {
            var set = PollSet()
            set.add(connection.number)
            set.limit(to: deadline)
            set.wait()
        }
    }
}
