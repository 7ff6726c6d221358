import MandosFormats

/// The initramfs's table of encrypted volumes. Source: crypttab(5) of Debian's cryptsetup.
enum CryptTable {
    static let path = "/cryptroot/crypttab"
    /// In bytes.
    static let largestFile = 1 << 20
    /// The program that cryptsetup's scripts run without a keyscript.
    static let askpass = "/lib/cryptsetup/askpass"

    /// Whether each volume in the table has a keyscript, which gets its password without us. The kernel's command line
    /// may replace an empty table later.
    static func hasOnlyKeyscripts(_ contents: [UInt8]) -> Bool {
        var hasVolumes = false
        for line in contents.split(separator: UInt8(ascii: "\n")) {
            let fields = line.split(whereSeparator: isSpace)
            guard let name = fields.first, name.first != UInt8(ascii: "#") else { continue }
            guard fields.count > 3, hasKeyscript(fields[3]) else { return false }
            hasVolumes = true
        }
        return hasVolumes
    }

    private static func hasKeyscript(_ options: ArraySlice<UInt8>) -> Bool {
        let name = "keyscript="
        return options.split(separator: UInt8(ascii: ",")).contains { option in
            option.starts(with: name.utf8) && !option.dropFirst(name.utf8.count).elementsEqual(askpass.utf8)
        }
    }
}
