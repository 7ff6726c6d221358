import CMandosSystem
import MandosFormats
import POSIXKit

/// The severity of kernel messages that the console shows. Source: syslog(2), proc(5).
enum KernelConsole {
    /// Messages of this level and less severe ones are not shown. Nil if the kernel does not tell.
    static var level: Int32? {
        guard let contents = try? readFile("/proc/sys/kernel/printk", limit: 256) else { return nil }
        return decimalNumber(contents.prefix { decimalDigit($0) != nil }).map { Int32(clamping: $0) }
    }

    /// Shows warnings and more severe messages.
    static let quiet: Int32 = 5

    /// Needs CAP_SYSLOG.
    static func setLevel(_ level: Int32) throws(SystemError) {
        try SystemError.check("quieting the kernel's messages", cmandos_set_console_level(level))
    }
}

/// A kernel setting under /proc/sys. Source: sysctl(8).
struct KernelSetting {
    private let path: String

    /// `name` is a path such as "net/ipv6/conf/eth0/optimistic_dad".
    init(_ name: String) { path = "/proc/sys/" + name }

    /// Nil if this kernel does not have the setting.
    var value: [UInt8]? { try? readFile(path, limit: 4096) }

    func set(_ value: [UInt8]) throws(SystemError) {
        let file = try FileDescriptor.open(path, O_WRONLY)
        try file.write(value)
    }
}
