import CMandosSystem
public import POSIXKit

/// The process that looks for servers: the only one that reads multicast DNS, which anybody on a link can send.
///
/// It has no keys, and no descriptor but the socket over which it tells names, interfaces, addresses and ports of servers; see
/// docs/PRIVILEGES.md.
public enum DiscoveryProcess {
    /// Avahi's cache takes most memory: some 10 MB for each interface in a flood. Avahi has five descriptors.
    private static func limits(isVerbose: Bool) -> Confinement.Limits {
        // Standard error may be a file.
        Confinement.Limits(memory: 128 << 20, files: 64, writesFiles: isVerbose)
    }

    /// Starts the process, as `user` and `group`; it ends with us. Only for a single-threaded process, which has no secrets.
    ///
    /// `socket` is its end of a ``SocketPair``. With `isVerbose`, it keeps standard error, and shows there what Avahi reports of its work.
    public static func start(
        over socket: borrowing FileDescriptor, on interfaces: InterfaceSelection, user: UInt32, group: UInt32,
        isVerbose: Bool
    ) throws(SystemError) -> ChildProcess {
        let number = socket.number
        return try ChildProcess.fork("the process that looks for servers", boundBy: SIGKILL) {
            do throws(SystemError) {
                try Confinement.toDatagrams(
                    name: "mandos-mdns", keeping: [number] + (isVerbose ? [ExitStatus.standardError] : []),
                    user: user, group: group, limits(isVerbose: isVerbose))
            } catch {
                _exit(EX_OSERR)
            }
            let socket = FileDescriptor(owning: number)
            do throws(Discovery.Failure) {
                try run(socket, interfaces.names, isVerbose)
            } catch {
                _ = try? socket.write(DiscoveryMessage.failed(code: error.code).bytes)
                _exit(EX_UNAVAILABLE)
            }
            _exit(EX_OK)
        }
    }

    /// Looks for servers until the other side is gone.
    private static func run(
        _ socket: borrowing FileDescriptor, _ interfaces: [String], _ isVerbose: Bool
    ) throws(Discovery.Failure) {
        let discovery = try Discovery(on: interfaces, isVerbose: isVerbose)
        while true {
            var set = PollSet()
            set.add(socket.number)
            try discovery.wait(&set)
            // Nothing is ever sent to us.
            if isReadable(socket.number) { return }
            // Sending waits if the other side is slow: packets are then lost instead of filling our memory.
            for message in discovery.takeMessages() {
                guard (try? socket.write(message.bytes)) != nil else { return }
            }
        }
    }
}
