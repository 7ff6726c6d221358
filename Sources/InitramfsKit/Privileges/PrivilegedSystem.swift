import CMandosSystem

/// How much of what the kernel says goes to the console. Source: syslog(2), proc(5).
public enum KernelConsole {
    /// Messages that are less grave than this stay away. Nil if the kernel does not say.
    public static var level: Int32? {
        guard let contents = try? readFile("/proc/sys/kernel/printk", limit: 256) else { return nil }
        let digits = contents.prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
        return Int32(String(decoding: digits, as: UTF8.self))
    }

    /// Warnings and what is graver.
    public static let quiet: Int32 = 5

    /// Needs CAP_SYSLOG.
    public static func setLevel(_ level: Int32) throws(SystemError) {
        try SystemError.check("quieting the kernel's messages", cmandos_set_console_level(level))
    }
}

/// What root may do. Source: capabilities(7).
public enum Capabilities {
    private static let netAdmin = 12
    private static let sysTime = 25
    private static let syslog = 34

    /// Gives up, for good and also for programs that are run, all but what interfaces, routes, the clock and the console
    /// need.
    public static func keepThoseForTheNetwork() throws(SystemError) {
        let mask = [netAdmin, sysTime, syslog].reduce(into: UInt(0)) { $0 |= 1 << UInt($1) }
        try SystemError.check("giving up capabilities", cmandos_keep_capabilities(mask))
    }
}

extension Clocks {
    /// Sets CLOCK_REALTIME to `milliseconds` since 1970, unless it is later already. Needs CAP_SYS_TIME.
    public static func setWall(forwardTo milliseconds: Int64) throws(SystemError) {
        guard milliseconds > wall else { return }
        var time = timespec()
        time.tv_sec = Int(milliseconds / 1000)
        try unsafe SystemError.check("setting the clock", clock_settime(CLOCK_REALTIME, &time))
    }
}

/// A setting of the kernel's, as a file has it. Source: sysctl(8).
public struct KernelSetting {
    private let path: String

    /// `name` as in "net/ipv6/conf/eth0/optimistic_dad".
    public init(_ name: String) { path = "/proc/sys/" + name }

    /// Nil if this kernel does not have it.
    public var value: [UInt8]? { try? readFile(path, limit: 4096) }

    public func set(_ value: [UInt8]) throws(SystemError) {
        let file = try FileDescriptor.open(path, O_WRONLY)
        _ = try unsafe value.withUnsafeBufferPointer { (bytes) throws(SystemError) in
            try unsafe file.write(UnsafeRawBufferPointer(bytes))
        }
    }
}

/// A number from 0 to `limit` - 1, each as likely.
public func randomNumber(below limit: UInt32) -> UInt32 { arc4random_uniform(limit) }
