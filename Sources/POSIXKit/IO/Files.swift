import CMandosSystem

/// Whether `path` exists and our real user may execute it.
public func isExecutable(_ path: String) -> Bool { unsafe access(path, X_OK) == 0 }

/// Whether `path` is a regular file that its owner may execute.
public func isRegularExecutable(_ path: String) -> Bool {
    var status = stat()
    return unsafe stat(path, &status) == 0 && status.isRegularFile && status.st_mode & 0o100 != 0
}

/// The names of the files in a directory, in no order; none if it cannot be read.
public func namesOfFiles(in directory: String) -> [String] { (try? namesOfFiles(inReadable: directory)) ?? [] }

/// The names of the files in a directory, in no order; throws unless all of it can be read.
public func namesOfFiles(inReadable directory: String) throws(SystemError) -> [String] {
    guard let stream = unsafe opendir(directory) else { throw SystemError("reading the directory " + directory) }
    defer { unsafe closedir(stream) }
    var names: [String] = []
    while let entry = unsafe cmandos_next_entry(stream) {
        let name = unsafe withUnsafeBytes(of: entry.pointee.d_name) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        if !name.utf8.elementsEqual(".".utf8) && !name.utf8.elementsEqual("..".utf8) { names.append(name) }
    }
    if cmandos_errno() != 0 { throw SystemError("reading the directory " + directory) }
    return names
}

extension [String] {
    /// The strings in the order of their bytes.
    public func sortedByBytes() -> [String] { sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) } }
}

/// Resolves `path` to a path without links; nil unless only root can change the file and every directory above it.
public func pathOfRootsAlone(_ path: String) -> String? {
    guard let resolved = unsafe realpath(path, nil) else { return nil }
    defer { unsafe free(resolved) }
    let real = unsafe String(cString: resolved)
    var prefix = ""
    for component in [""] + real.utf8.split(separator: UInt8(ascii: "/")).map({ String(Substring($0)) }) {
        prefix += "/" + component
        var status = stat()
        // Not writable by the group or others.
        guard unsafe lstat(prefix, &status) == 0, status.st_uid == 0, status.st_mode & 0o022 == 0 else {
            return nil
        }
        if component.utf8.isEmpty { prefix = "" }
    }
    return real
}

/// The time of a file's last modification, in milliseconds since 1970.
public func timeOfChange(_ path: String) throws(SystemError) -> Int64 {
    var status = stat()
    try unsafe SystemError.check("looking at " + path, stat(path, &status))
    return Int64(status.st_mtim.tv_sec) * 1000
}
