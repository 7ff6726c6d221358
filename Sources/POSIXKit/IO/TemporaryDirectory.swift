import CMandosSystem

/// A directory that only our user can read, removed with its contents at the end of its owner's lifetime.
public final class TemporaryDirectory {
    public let path: String

    /// Creates a directory, whose name begins with `prefix`, in the first of `places` where that is possible.
    public init(in places: [String], prefix: String) throws(SystemError) {
        for place in places {
            var template = Array((place + "/" + prefix + "-XXXXXX").utf8CString)
            if unsafe mkdtemp(&template) != nil {
                path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
                return
            }
        }
        throw SystemError("making a directory in " + places.joined(separator: " or "))
    }

    deinit { Self.remove(path) }

    /// Removes a directory and its contents, without following links.
    private static func remove(_ path: String) {
        for name in namesOfFiles(in: path) {
            let child = path + "/" + name
            if unsafe unlink(child) != 0 && cmandos_errno() == EISDIR { remove(child) }
        }
        unsafe rmdir(path)
    }
}
