import POSIXKit

/// The kernel command line, as the boot loader set it. Source: bootparam(7).
enum KernelCommandLine {
    /// The options for Mandos: `mandos=OPTION[,OPTION...]`.
    static var mandosOptions: [String] {
        let text = (try? readFile("/proc/cmdline", limit: 1 << 16)) ?? []
        let name = Array("mandos=".utf8)
        return text.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\n") }
            .filter { $0.starts(with: name) }
            .flatMap { $0.dropFirst(name.count).split(separator: UInt8(ascii: ",")) }
            .map { String(decoding: $0, as: UTF8.self) }
    }
}
