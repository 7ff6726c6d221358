import MandosFormats

/// The name under which the server is announced. Source: mandos(8) `--servicename`; RFC 6763, 4.1.1 and 7.2.
public enum ServiceName {
    public static let standard = "Mandos"

    /// In bytes of UTF-8.
    static let longest = 63

    /// Why Avahi would not announce `name`; nil if it would.
    public static func problem(with name: String) -> String? {
        let length = name.utf8.count
        if length == 0 || length > longest { return "is \(length) bytes long; a service name has 1 to \(longest)" }
        return name.unicodeScalars.contains(where: isControl) ? "has control characters" : nil
    }
}
