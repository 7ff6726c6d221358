import CMandosSystem

/// A directory that only we can read, and that is gone with everything in it when its owner goes.
public final class TemporaryDirectory {
    public let path: String

    /// Makes one in the first of `places` where that is possible; its name begins with `prefix`.
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

    /// Removes a directory and what is in it, following no links.
    private static func remove(_ path: String) {
        for name in namesOfFiles(in: path) {
            let child = path + "/" + name
            if unsafe unlink(child) != 0 && cmandos_errno() == EISDIR { remove(child) }
        }
        unsafe rmdir(path)
    }
}
