public import CMandosSystem
import MandosFormats

/// The environment of this process.
public enum ProcessEnvironment {
    /// All variables, as `NAME=value`.
    public static var settings: [String] {
        var settings: [String] = []
        var next = unsafe cmandos_environment()
        while let setting = unsafe next?.pointee {
            unsafe settings.append(String(cString: setting))
            unsafe next = next?.successor()
        }
        return settings
    }

    /// The value of a variable; nil if it is not set.
    public static func value(of name: String) -> String? {
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }
}

/// Sets an environment variable for us and the programs we run from now on. Only for a single-threaded process.
public func setEnvironment(_ name: String, to value: String) { unsafe setenv(name, value, 1) }

/// The IDs of this process.
public enum OwnProcess {
    public static var id: Int32 { getpid() }
    /// The real user.
    public static var user: UInt32 { getuid() }
    /// The real group.
    public static var group: UInt32 { getgid() }

    /// Our children, also those that have ended and whose exit status was not collected. Source: proc_pid_stat(5).
    public static var children: [pid_t] {
        let own = getpid()
        return ForeignProcess.allIDs().filter { processID in
            guard let status = try? readFile("/proc/\(processID)/stat", limit: statusLimit),
                // The name before it may have any characters.
                let end = status.lastIndex(of: UInt8(ascii: ")"))
            else { return false }
            let fields = status[end...].split(separator: UInt8(ascii: " "))
            return fields.count > 2 && decimalNumber(fields[2]).map { $0 == own } ?? false
        }
    }

    private static let statusLimit = 1 << 12
}

/// The setup of a program that runs in parallel to the scripts of an initramfs.
public enum BackgroundProgram {
    /// Leaves the session and its terminal, so that no program we start can prompt there unnoticed. Does nothing if we
    /// already lead a process group.
    public static func leaveSession() { _ = setsid() }
}
