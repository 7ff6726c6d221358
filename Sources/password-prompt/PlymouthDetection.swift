import CMandosSystem
import POSIXKit

/// Detects whether plymouthd(8) owns the console. Source: password-prompt(8mandos), "DESCRIPTION".
enum PlymouthDetection {
    /// A sign that Plymouth is running.
    enum Sign: CustomStringConvertible {
        case processIDFile
        case process(pid_t)

        var description: String {
            switch self {
            case .processIDFile: "there is " + PlymouthDetection.processIDFile.description
            case .process(let id): "process \(id) is plymouthd"
            }
        }
    }

    private static var processIDFile: StaticString { "/run/plymouth/pid" }
    private static var processName: StaticString { "plymouthd" }
    // No file has a longer path.
    private static var longestPath: Int { Int(PATH_MAX) }

    /// The first sign found, or nil. Without /proc, only the PID file can be found.
    static func sign() -> Sign? {
        if unsafe access(processIDFile.description, R_OK) == 0 { return .processIDFile }
        return ForeignProcess.allIDs().first(where: isPlymouth).map { .process($0) }
    }

    /// Compares the last component of `argv[0]`. Plymouth overwrites the first character of that with "@", which tells
    /// systemd not to kill it.
    private static func isPlymouth(_ id: pid_t) -> Bool {
        // The process has ended meanwhile.
        guard let file = try? FileDescriptor.open("/proc/\(id)/cmdline", O_RDONLY) else { return false }
        var buffer = [UInt8](repeating: 0, count: longestPath)
        guard case .bytes(let count)? = try? file.read(into: &buffer) else { return false }
        let path = buffer[..<count].prefix { $0 != 0 }
        let name = path.suffix(processName.utf8CodeUnitCount)
        guard name.elementsEqual(processName.description.utf8) else { return false }
        let before = path.dropLast(name.count).last
        return before == nil || before == UInt8(ascii: "/")
            || (path.count == name.count + 1 && before == UInt8(ascii: "@"))
    }
}
