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

/// What the boot loader told the kernel. Source: bootparam(7).
public enum KernelCommandLine {
    /// What is said to Mandos: `mandos=OPTION[,OPTION...]`.
    public static var mandosOptions: [String] {
        let text = (try? readFile("/proc/cmdline", limit: 1 << 16)) ?? []
        let name = Array("mandos=".utf8)
        return text.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\n") }
            .filter { $0.starts(with: name) }
            .flatMap { $0.dropFirst(name.count).split(separator: UInt8(ascii: ",")) }
            .map { String(decoding: $0, as: UTF8.self) }
    }
}
