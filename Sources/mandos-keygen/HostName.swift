import Glibc

/// The name of this host.
enum HostName {
    /// The full name if the resolver knows it, otherwise the short one. Source: hostname(1) `--fqdn`.
    static func fullyQualified() -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard unsafe gethostname(&buffer, buffer.count - 1) == 0 else { return "localhost" }
        let short = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        var hints = unsafe addrinfo()
        unsafe hints.ai_flags = AI_CANONNAME
        var list: UnsafeMutablePointer<addrinfo>?
        guard unsafe getaddrinfo(short, nil, &hints, &list) == 0 else { return short }
        defer { unsafe freeaddrinfo(list) }
        guard let name = unsafe list?.pointee.ai_canonname else { return short }
        return unsafe String(cString: name)
    }
}
