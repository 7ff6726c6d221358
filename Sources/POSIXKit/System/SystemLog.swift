import CMandosSystem

/// The system's log. Source: syslog(3).
public enum SystemLog {
    /// The priority of a message, numbered as in syslog(3).
    public enum Priority: Int32, Sendable {
        case critical = 2
        case error = 3
        case warning = 4
        case notice = 5
        case info = 6
        case debug = 7
    }

    /// Opens the log with the facility daemon. `name` must last for ever: the C library keeps the pointer.
    public static func open(_ name: StaticString) {
        let characters = unsafe UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
        unsafe cmandos_open_log(characters)
    }

    public static func write(_ priority: Priority, _ text: String) { unsafe cmandos_log(priority.rawValue, text) }
}
