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
    /// It is no regular file, but a device, a FIFO or a directory, which may never end, or never answer.
    case notRegular
    case failure(SystemError)
}

protocol ConfigurationFiles {
    mutating func answer(_ question: FileQuestion) -> FileAnswer
}

/// The file system itself.
struct FilesOnDisk: ConfigurationFiles {
    /// The limit for a configuration file, in bytes; with 100,000 clients it has some 200 MB.
    private static let largestFile = 2 << 30

    /// The files and directories that were read, as they were before that.
    private var read: [(path: String, version: FileVersion?)] = []

    /// Whether any of them has changed since: then what was read is of different moments. A section that was moved from one
    /// file to another one meanwhile, for example, is in neither.
    var haveChanged: Bool { read.contains { FileVersion($0.path) != $0.version } }

    mutating func answer(_ question: FileQuestion) -> FileAnswer {
        if question.kind != .secret { read.append((question.path, FileVersion(question.path))) }
        do throws(SystemError) {
            switch question.kind {
            case .configuration: return try read(question.path, limit: Self.largestFile)
            case .secret:
                return try read(Self.expandingTilde(Self.expandingVariables(question.path)), limit: Secret.largest)
            case .directory: return .names(try namesOfFiles(inReadable: question.path))
            }
        } catch {
            // A link to nothing is not the same as nothing: its file system may not be mounted yet.
            var status = stat()
            let isLink = unsafe lstat(question.path, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
            return .failure(
                error.code == ENOENT && isLink ? SystemError("reading " + question.path, code: ENOLINK) : error)
        }
    }

    private func read(_ path: String, limit: Int) throws(SystemError) -> FileAnswer {
        var status = stat()
        func isRegular() -> Bool { status.st_mode & S_IFMT == S_IFREG }
        // Before it is opened, which alone has an effect on some devices.
        try unsafe SystemError.check("opening " + path, stat(path, &status))
        guard isRegular() else { return .notRegular }
        let file = try FileDescriptor.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY)
        try unsafe SystemError.check("reading " + path, fstat(file.number, &status))
        guard isRegular() else { return .notRegular }
        return .contents(try file.contents(path, limit: limit), mode: status.st_mode & 0o7777)
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

/// What tells one version of a file from another one.
private struct FileVersion: Equatable {
    private let device: dev_t
    private let inode: ino_t
    private let size: off_t
    /// Of the last change to the contents or the attributes, in seconds and nanoseconds. Nobody can set it.
    private let changed: [Int]

    /// nil if there is no file that can be looked at.
    init?(_ path: String) {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { return nil }
        (device, inode, size) = (status.st_dev, status.st_ino, status.st_size)
        changed = [status.st_ctim.tv_sec, status.st_ctim.tv_nsec]
    }
}
