import FoundationEssentials
import Glibc
import MandosClient
import POSIXKit

/// The directory of a client's four key files.
struct KeyDirectory {
    enum File: String, CaseIterable {
        case secretKey = "seckey.txt"
        case publicKey = "pubkey.txt"
        case tlsPrivateKey = "tls-privkey.pem"
        case tlsPublicKey = "tls-pubkey.pem"
    }

    static let standardPath = "/etc/keys/mandos"
    /// The key directory of versions before 1.7.
    private static let formerPath = "/etc/mandos/keys"

    let path: String

    init(path: String) throws(KeygenError) {
        if Self.isDirectory(path) {
            // A file name must not look like an option.
            self.path = path.hasPrefix("-") ? "./" + path : path
        } else if path == Self.standardPath && Self.isDirectory(Self.formerPath) {
            self.path = Self.formerPath
        } else {
            throw KeygenError("there is no directory \(path); make it with: install --directory --mode=0700 \(path)")
        }
    }

    private static func isDirectory(_ path: String) -> Bool {
        let attributes = try? FileManager.default.attributesOfItem(atPath: path + "/")
        return attributes?[.type] as? FileAttributeType == .typeDirectory
    }

    func path(of file: File) -> String { path + "/" + file.rawValue }

    func contents(of file: File) throws(KeygenError) -> [UInt8] {
        try KeygenError.wrap { () throws(SystemError) in
            try readFile(path(of: file), limit: ClientKeys.maximumFileSize)
        }
    }

    /// The path of a key file that exists already.
    var existingFile: String? {
        File.allCases.map(path(of:)).first { FileManager.default.fileExists(atPath: $0) }
    }

    /// Installs all files, with mode 600, and keeps existing ones as numbered backups `FILE.~N~`.
    ///
    /// All files are written before the first one is replaced, in one step each: a full disk leaves the old keys as they were.
    func install(_ files: [(File, [UInt8])]) throws(SystemError) {
        var written: [(temporary: String, final: String)] = []
        defer { for file in written { unsafe unlink(file.temporary) } }
        for (file, contents) in files {
            let final = path(of: file)
            let temporary = "\(final).new.\(ProcessInfo.processInfo.processIdentifier)"
            let descriptor = try FileDescriptor.open(temporary, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
            written.append((temporary, final))
            try writeAll(contents, to: descriptor.number)
            try SystemError.check("writing \(temporary)", fsync(descriptor.number))
        }
        for file in written {
            if FileManager.default.fileExists(atPath: file.final) {
                let backup = try nextBackup(of: file.final)
                try unsafe SystemError.check("keeping \(file.final) as \(backup)", link(file.final, backup))
            }
            try unsafe SystemError.check("replacing \(file.final)", rename(file.temporary, file.final))
        }
    }

    /// The path of the next backup: the highest number plus one, as with cp(1) `--backup=numbered`.
    private func nextBackup(of file: String) throws(SystemError) -> String {
        let prefix = file.dropFirst(path.count + 1) + ".~"
        let numbers = try namesOfFiles(inReadable: path).compactMap { name in
            name.hasPrefix(prefix) && name.hasSuffix("~") ? Int(name.dropFirst(prefix.count).dropLast()) : nil
        }
        return "\(file).~\((numbers.max() ?? 0) + 1)~"
    }
}
