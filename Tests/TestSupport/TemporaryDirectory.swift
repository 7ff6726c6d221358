public import Foundation
import Glibc
import Testing

/// A directory that is removed after the test.
public final class TemporaryDirectory: Sendable {
    public let path = NSTemporaryDirectory() + "mandos-test-" + UUID().uuidString

    /// Makes the directory, with `files` in it; only its owner can read either.
    public init(_ files: [String: String] = [:]) throws {
        try makeDirectory(path)
        for (name, contents) in files { try write(contents, to: name) }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Makes a directory in this one.
    public func addDirectory(_ name: String) throws { try makeDirectory(path + "/" + name) }

    private func makeDirectory(_ path: String) throws {
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    /// Writes a file that only its owner can read; returns its path.
    @discardableResult
    public func write(_ contents: Data, to name: String) throws -> String {
        let file = path + "/" + name
        let created = FileManager.default.createFile(
            atPath: file, contents: contents, attributes: [.posixPermissions: 0o600])
        try #require(created)
        return file
    }

    @discardableResult
    public func write(_ contents: String, to name: String) throws -> String { try write(Data(contents.utf8), to: name) }

    /// Writes a shell script that can be run at once; returns its path.
    @discardableResult
    public func writeScript(_ body: String, to name: String) throws -> String {
        let file = try write("#!/bin/sh\n" + body, to: name)
        try setMode(0o755, of: name)
        waitUntilRunnable(file)
        return file
    }

    /// The contents of a file in the directory, or nil if there is no such file.
    public func contents(of name: String) -> Data? { FileManager.default.contents(atPath: path + "/" + name) }

    /// Whether the directory has an entry with this name.
    public func contains(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path + "/" + name) }

    /// The names of the directory's entries, sorted.
    public func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }

    /// Changes the permissions of the directory itself, or of the file with that name in it.
    public func setMode(_ mode: Int, of name: String = "") throws {
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path + "/" + name)
    }
}

/// Waits until no process has the file open for writing. Until then it cannot be run: a child of another test may still
/// hold its descriptor, between fork and exec.
public func waitUntilRunnable(_ path: String) {
    let setLease: Int32 = 1024  // F_SETLEASE, hidden by the headers
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    defer { close(file) }
    let deadline = ContinuousClock.now + waitLimit
    while fcntl(file, setLease, F_RDLCK) != 0 && ContinuousClock.now < deadline { usleep(5000) }
    _ = fcntl(file, setLease, F_UNLCK)
}
