import CMandosSystem
import POSIXKit

/// The questions that were answered with a stored password since the boot, in a file that outlives the program.
///
/// A question that is asked again was answered with a password that its volume has refused. It is then left to people,
/// who need the remaining tries. The file lists the questions' names, and nothing of the password, not even a digest:
/// a digest can be searched for the password faster than a volume's key derivation allows.
public struct AnsweredQuestions: ~Copyable {
    /// Maximum length of a question's name, in bytes; systemd names a device by its path (PATH_MAX).
    private static let longestName = 4096
    /// Maximum size of the file, in bytes: 256 of the longest names.
    private static let largestFile = 1 << 20

    /// Nil if the list is lost when this program ends.
    private var file: FileDescriptor?
    private var names: [[UInt8]] = []
    private var size = 0

    /// Opens the list at `path`, or creates it so that only our user can read and write it.
    ///
    /// A file that cannot be used is reported, and replaced by a list in memory: one try that is used up is better than
    /// a machine that does not start.
    public init(at path: String, report: (String) -> Void) {
        do throws(SystemError) {
            let file = try Self.open(path)
            let contents = try file.contents(path, limit: Self.largestFile)
            names = Self.names(in: contents)
            size = contents.count
            self.file = consume file
        } catch {
            report("\(error); the next start will not know which questions were answered; remove that file")
        }
    }

    private static func open(_ path: String) throws(SystemError) -> FileDescriptor {
        let flags = O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY
        let file = try FileDescriptor.open(path, flags, mode: 0o600)
        let attributes = try file.attributes()
        guard attributes.isRegularFile else { throw SystemError(path + " is no file", code: EINVAL) }
        // Another user's list could keep us from answering.
        guard attributes.user == geteuid(), attributes.mode & 0o022 == 0 else {
            throw SystemError(path + " can be changed by other users", code: EPERM)
        }
        return file
    }

    /// The whole lines: a last line without its end was cut off, and could be the beginning of another name.
    private static func names(in contents: [UInt8]) -> [[UInt8]] {
        guard let end = contents.lastIndex(of: UInt8(ascii: "\n")) else { return [] }
        return contents[..<end].split(separator: UInt8(ascii: "\n")).map { Array($0) }
    }

    /// Whether the list outlives this program.
    public var isKept: Bool {
        switch file {
        case .some: true
        case .none: false
        }
    }

    /// Whether answers to `name` can be remembered beyond the end of this program.
    public func canKeep(_ name: [UInt8]) -> Bool {
        switch file {
        case .some: Self.isValid(name) && size + name.count + 2 <= Self.largestFile
        case .none: false
        }
    }

    /// Whether the question may be answered with a stored password: it is new, and its name fits into a line.
    public func allows(_ name: [UInt8]) -> Bool { Self.isValid(name) && !names.contains(name) }

    private static func isValid(_ name: [UInt8]) -> Bool {
        !name.isEmpty && name.count <= longestName && !name.contains(UInt8(ascii: "\n"))
    }

    /// Adds a question that was answered.
    public mutating func add(_ name: [UInt8], report: (String) -> Void) {
        names.append(name)
        guard canKeep(name) else { return }
        // It begins with a line end too, in case that the last line was cut off.
        let line = [UInt8(ascii: "\n")] + name + [UInt8(ascii: "\n")]
        size += line.count
        do throws(SystemError) {
            try file?.write(line)
        } catch {
            report("keeping which questions were answered: \(error)")
            file = nil
        }
    }
}
