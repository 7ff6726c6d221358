import CMandosSystem
import POSIXKit

/// Whether plymouthd(8) has the console. Source: password-prompt(8mandos), "DESCRIPTION".
enum PlymouthDetection {
    /// What gives Plymouth away.
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
    // A longer path has no file.
    private static var longestPath: Int { Int(PATH_MAX) }

    /// What gives it away, or nil if nothing does; nothing can where /proc is missing.
    static func sign() -> Sign? {
        if unsafe access(processIDFile.description, R_OK) == 0 { return .processIDFile }
        return ForeignProcess.allIDs().first(where: isPlymouth).map { .process($0) }
    }

    /// Compares the last component of the name it was started with. Plymouth writes "@" over the first character of that,
    /// which is how systemd knows to leave it running.
    private static func isPlymouth(_ id: pid_t) -> Bool {
        // A process that is gone by now is not it.
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
