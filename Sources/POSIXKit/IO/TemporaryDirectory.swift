import CMandosSystem

/// A directory that only our user can read, removed with its contents at the end of its owner's lifetime.
public final class TemporaryDirectory {
    public let path: String

    /// Creates a directory, whose name begins with `prefix`, in the first of `places` where that is possible.
    public init(in places: [String], prefix: String) throws(SystemError) {
        path = try makeDirectory(in: places, prefix: prefix)
    }

    deinit { Self.remove(path) }

    /// Removes the contents of the directory at `path`, without following links in it.
    public static func empty(_ path: String) {
        for name in namesOfFiles(in: path) {
            let child = path + "/" + name
            if unsafe unlink(child) != 0 && cmandos_errno() == EISDIR { remove(child) }
        }
    }

    /// Removes a directory and its contents, without following links.
    private static func remove(_ path: String) {
        empty(path)
        unsafe rmdir(path)
    }
}

/// Makes a directory that only our user can read, with a name of its own that begins with `prefix`, in the first of `places` where
/// that is possible.
///
/// - Returns: its path.
public func makeDirectory(in places: [String], prefix: String) throws(SystemError) -> String {
    for place in places {
        var template = Array((place + "/" + prefix + "-XXXXXX").utf8CString)
        if unsafe mkdtemp(&template) != nil {
            return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }
    throw SystemError("making a directory in " + places.joined(separator: " or "))
}

/// Removes a directory; does nothing if it is not empty.
///
/// - Returns: false if it is not empty.
@discardableResult
public func removeDirectory(_ path: String) -> Bool {
    unsafe rmdir(path) == 0 || (cmandos_errno() != ENOTEMPTY && cmandos_errno() != EEXIST)
}
