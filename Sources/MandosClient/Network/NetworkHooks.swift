import POSIXKit

/// Programs that bring up a network which takes more than taking up an interface.
///
/// Source: mandos-client(8mandos), NETWORK HOOKS.
public struct NetworkHooks {
    private let directory: String
    private let isVerbose: Bool
    private let settings: [String]
    let timeLimit: Int64

    /// How long a hook may take to start or stop its network, in milliseconds: radio and tunnels take their time.
    public static let standardTimeLimit: Int64 = 60_000
    /// Of what is in the directory, no more are run.
    private static let mostHooks = 64

    /// `devices`, `delay` and `connect` are what the options say.
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

    /// Where hooks are unless an option says otherwise; for a set-uid program there is no otherwise.
    public static let standardDirectory = "/lib/mandos/network-hooks.d"

    /// The hooks there are, in the order of their names.
    ///
    /// A set-uid program runs them as root for anybody. So it runs those of the standard directory alone, and nobody but
    /// root may have a hand in them or in what leads to them.
    ///
    /// - Parameter complain: is told of what is there and is not run.
    func installed(isSetUID: Bool, complain: (String) -> Void) -> [String] {
        if isSetUID, !directory.utf8.elementsEqual(Self.standardDirectory.utf8) {
            if !namesOfFiles(in: directory).isEmpty {
                complain(
                    "no network hook is run from \(directory): a set-uid program runs those of "
                        + Self.standardDirectory + " only")
            }
            return []
        }
        let place = pathOfRootsAlone(directory)
        var hooks: [String] = []
        for name in namesOfFiles(in: directory) where Self.isHookName(name) {
            let path = directory + "/" + name
            guard isRegularExecutable(path) else { continue }
            if isSetUID {
                guard let place, let real = pathOfRootsAlone(path), real.utf8.elementsEqual((place + "/" + name).utf8)
                else {
                    complain("\(path): it, or a directory on the way to it, is not root's alone; it is not run")
                    continue
                }
            }
            hooks.append(path)
        }
        return Array(hooks.prefix(Self.mostHooks))
    }

    /// Upper and lower case letters, digits, underscores, periods and hyphens.
    static func isHookName(_ name: String) -> Bool {
        name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"): true
            default: false
            }
        }
    }

    /// Starts the program of one hook; what it prints goes to standard error.
    func begin(_ path: String, _ mode: Mode) throws(SystemError) -> ChildProcess {
        let null = try FileDescriptor.nothing()
        return try ChildProcess.start(
            path, arguments: [path, mode.text], environment: settings + ["MODE=" + mode.text],
            standard: [null.number, ExitStatus.standardError, ExitStatus.standardError], directory: "/")
    }
}
