import CMandosSystem

/// What this process was started with.
public enum ProcessEnvironment {
    /// Every variable, as `NAME=value`.
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

/// Sets a variable of our environment, and so of the programs that are run from now on. For a process with one thread.
public func setEnvironment(_ name: String, to value: String) { unsafe setenv(name, value, 1) }

/// Who this process is.
public enum OwnProcess {
    public static var id: Int32 { getpid() }
    /// The real one.
    public static var user: UInt32 { getuid() }
    /// The real one.
    public static var group: UInt32 { getgid() }
}

/// What a program needs that goes on beside the scripts of an initramfs.
public enum BackgroundProgram {
    /// Leaves the session, and with it the terminal: no program that we start can ask there behind somebody's back.
    /// Where we lead a process group already, nothing happens.
    public static func leaveSession() { _ = setsid() }
}
