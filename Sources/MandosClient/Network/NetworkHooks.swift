import POSIXKit

/// Programs that make a network for which it is not enough to bring up an interface.
///
/// Source: mandos-client(8mandos), NETWORK HOOKS.
public struct NetworkHooks {
    private let directory: String
    private let isVerbose: Bool
    private let settings: [String]
    let timeLimit: Int64

    /// How long a hook may take to start or stop its network, in milliseconds; wireless networks and tunnels are slow.
    public static let standardTimeLimit: Int64 = 60_000
    private static let maximumHooks = 64

    /// `devices`, `delay` and `connect` are the values of the options, for the hooks.
    public init(
        directory: String, devices: [String], delay: String, connect: String?, isVerbose: Bool,
        timeLimit: Int64 = standardTimeLimit
    ) {
        self.directory = directory
        self.timeLimit = timeLimit
        self.isVerbose = isVerbose
        settings =
            [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "MANDOSNETHOOKDIR=" + directory, "DEVICE=" + devices.joined(separator: ","),
                "VERBOSITY=" + (isVerbose ? "1" : "0"), "DELAY=" + delay,
            ] + (connect.map { ["CONNECT=" + $0] } ?? [])
    }

    enum Mode {
        case start, stop

        var text: String { self == .start ? "start" : "stop" }
    }

    /// The default directory, and the only one for a set-uid program.
    public static let standardDirectory = "/lib/mandos/network-hooks.d"

    /// The paths of the installed hooks, in the order of their names.
    ///
    /// A set-uid program runs them as root for any user. It therefore runs hooks of the standard directory only, and only if
    /// nobody but root can change them or a directory on the way to them.
    ///
    /// - Parameter complain: reports files that are there and are not run.
    func installed(isSetUID: Bool, complain: (String) -> Void) -> [String] {
        if isSetUID, !directory.utf8.elementsEqual(Self.standardDirectory.utf8) {
            // Not even looked at: whether this is said must not tell a user what is in a directory that only root can read.
            complain(
                "no network hook is run from \(directory): a set-uid program runs only those of "
                    + Self.standardDirectory)
            return []
        }
        let place = pathOfRootsAlone(directory)
        var hooks: [String] = []
        for name in namesOfFiles(in: directory).sortedByBytes() where Self.isHookName(name) {
            let path = directory + "/" + name
            guard isRegularExecutable(path) else { continue }
            if isSetUID {
                guard let place, let real = pathOfRootsAlone(path), real.utf8.elementsEqual((place + "/" + name).utf8)
                else {
                    complain(
                        path + " is not run: it is a link, or users other than root can change it or its directory")
                    continue
                }
            }
            hooks.append(path)
        }
        return Array(hooks.prefix(Self.maximumHooks))
    }

    /// Whether the name has only letters, digits, underscores, periods and hyphens.
    static func isHookName(_ name: String) -> Bool {
        name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"): true
            default: false
            }
        }
    }

    /// Starts a hook; its output goes to standard error.
    func begin(_ path: String, _ mode: Mode) throws(SystemError) -> ChildProcess {
        let null = try FileDescriptor.nothing()
        return try ChildProcess.start(
            path, arguments: [path, mode.text], environment: settings + ["MODE=" + mode.text],
            standard: [null.number, ExitStatus.standardError, ExitStatus.standardError], directory: "/")
    }
}
