import FoundationEssentials
import Glibc
import MandosCore
import POSIXKit

/// A question of the configuration's loader to the file system.
///
/// Questions and answers are values so that a privileged process can answer one without privileges.
struct FileQuestion: Hashable {
    enum Kind: UInt8 {
        case configuration
        /// The file of `secfile`; the path is as written there.
        case secret
        case directory
    }

    let kind: Kind
    let path: String
}

enum FileAnswer {
    /// `mode` has the permission bits of chmod(2).
    case contents([UInt8], mode: UInt32)
    case names([String])
    case failure(SystemError)
}

protocol ConfigurationFiles {
    mutating func answer(_ question: FileQuestion) -> FileAnswer
}

/// The file system itself.
struct FilesOnDisk: ConfigurationFiles {
    /// The limit for a configuration file, in bytes; with 100,000 clients it has some 200 MB.
    private static let largestFile = 2 << 30

    func answer(_ question: FileQuestion) -> FileAnswer {
        do throws(SystemError) {
            switch question.kind {
            case .configuration: return try read(question.path, limit: Self.largestFile)
            case .secret:
                return try read(Self.expandingTilde(Self.expandingVariables(question.path)), limit: Secret.largest)
            case .directory: return .names(try names(in: question.path))
            }
        } catch {
            return .failure(error)
        }
    }

    private func read(_ path: String, limit: Int) throws(SystemError) -> FileAnswer {
        let contents = try readFile(path, limit: limit)
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { throw SystemError("reading " + path) }
        return .contents(contents, mode: status.st_mode & 0o7777)
    }

    private func names(in path: String) throws(SystemError) -> [String] {
        guard let directory = unsafe opendir(path) else { throw SystemError("reading " + path) }
        defer { unsafe closedir(directory) }
        var names: [String] = []
        while let entry = unsafe readdir(directory) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                unsafe pointer.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) {
                    unsafe String(cString: $0)
                }
            }
            names.append(name)
        }
        return names
    }

    /// Expands `$NAME` and `${NAME}`; leaves unset variables as written.
    private static func expandingVariables(_ path: String) -> String {
        let environment = ProcessInfo.processInfo.environment
        return path.replacing(/\$(?:\{(\w+)\}|(\w+))/) { match in
            environment[String(match.output.1 ?? match.output.2 ?? "")] ?? String(match.output.0)
        }
    }

    /// Expands `~/…` to `$HOME`, or our home directory in the user database, and `~user/…`; leaves users that do not exist as
    /// written.
    private static func expandingTilde(_ path: String) -> String {
        guard path.hasPrefix("~") else { return path }
        let user = path.dropFirst().prefix { $0 != "/" }
        let variable = ProcessInfo.processInfo.environment["HOME"] ?? ""
        let home =
            user.isEmpty
            ? variable.isEmpty ? FileManager.default.homeDirectoryForCurrentUser : URL(filePath: variable)
            : FileManager.default.homeDirectory(forUser: String(user))
        guard let home else { return path }
        let rest = path.dropFirst(1 + user.count).drop { $0 == "/" }
        return home.appending(path: rest).path(percentEncoded: false)
    }
}
