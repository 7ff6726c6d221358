import Foundation
import MandosCore
import MandosFormats
import TestSupport
import Testing

@testable import MandosServer

/// A configuration directory with these files.
private func configuration(_ files: [String: String]) throws -> TemporaryDirectory {
    let directory = try TemporaryDirectory()
    try directory.addDirectory("clients.d")
    for (name, contents) in files { try directory.write(contents, to: name) }
    return directory
}

extension TemporaryDirectory {
    fileprivate func load() throws -> Configuration { try Configuration.load(directory: path) }

    /// The problems, with the directory taken out.
    fileprivate func problems() throws -> [String] {
        try #require(throws: ConfigProblems.self) { try load() }.problems.map {
            $0.description.replacingOccurrences(of: path + "/", with: "")
        }
    }

    fileprivate func warnings() throws -> [String] {
        try load().warnings.map { $0.description.replacingOccurrences(of: path + "/", with: "") }
    }
}

private func section(_ name: String, key: Int, _ rest: String = "") -> String {
    TestSupport.section(name, key: key, checker: nil, rest)
}

@Suite struct `The configuration directory` {
    @Test func `has clients in clients.conf and in clients.d, in name order`() throws {
        let directory = try configuration([
            "clients.conf": "[DEFAULT]\ntimeout = PT3M\n" + section("a", key: 1),
            "clients.d/20.conf": "[DEFAULT]\ninterval = PT20S\n" + section("c", key: 3),
            "clients.d/10.conf": section("b", key: 2),
            "clients.d/ignored": "nonsense",
            "clients.d/.hidden.conf": "nonsense",
            "mandos.conf": "[DEFAULT]\nport = 1025\n",
        ])
        let loaded = try directory.load()
        #expect(loaded.clients.map(\.name) == ["a", "b", "c"])
        #expect(loaded.clients.allSatisfy { $0.timeout == .minutes(3) })
        #expect(loaded.clients.map(\.interval) == [.minutes(2), .minutes(2), .seconds(20)])
        #expect(loaded.server.port == 1025)
        #expect(loaded.warnings.isEmpty)
    }

    @Test func `may lack mandos.conf, and clients.conf if there is clients.d`() throws {
        #expect(try configuration(["clients.conf": section("a", key: 1)]).load().server == ServerSettings())
        #expect(try configuration(["clients.d/a.conf": section("a", key: 1)]).load().clients.count == 1)
    }

    @Test func `that has no clients at all is told`() throws {
        #expect(try configuration([:]).problems() == ["clients.conf: No such file or directory"])
        #expect(try configuration(["clients.conf": "[DEFAULT]\n"]).warnings().count == 1)
    }

    @Test func `that cannot be read may be readable later, but not one with a mistake`() throws {
        func mayPass(_ directory: TemporaryDirectory) throws -> Bool {
            try #require(throws: ConfigProblems.self) { try directory.load() }.mayPass
        }
        let late = section("a", key: 1).replacing(/secret = .*/, with: "secfile = /nonexistent")
        #expect(try mayPass(configuration(["clients.conf": late])))
        #expect(try mayPass(configuration(["clients.conf": late + "timeout = x\n"])), "mending both takes two attempts")
        #expect(try !mayPass(configuration(["clients.conf": section("a", key: 1, "timeout = x\n")])))
        #expect(try mayPass(configuration([:])))
        let directory = try configuration(["clients.conf": section("a", key: 1)])
        try FileManager.default.removeItem(atPath: directory.path + "/clients.d")
        try FileManager.default.createSymbolicLink(
            atPath: directory.path + "/clients.d", withDestinationPath: "clients.d")
        #expect(try mayPass(directory), "too many levels of symbolic links")
    }

    @Test(arguments: ["clients.d", "clients.conf"]) func `is not complete if a link leads nowhere`(name: String) throws
    {
        let directory = try configuration([
            "clients.conf": section("a", key: 1), "clients.d/b.conf": section("b", key: 2),
        ])
        let path = directory.path + "/" + name
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: "/nonexistent/\(name)")
        #expect(try directory.problems() == ["\(name): Link has been severed"])
    }

    @Test func `is not complete if a file is where clients.d should be`() throws {
        let directory = try TemporaryDirectory(["clients.conf": section("a", key: 1), "clients.d": ""])
        #expect(try directory.problems() == ["clients.d: Not a directory"])
    }

    @Test func `is read again if a file has changed before the last one was read`() throws {
        let directory = try configuration([
            "clients.conf": section("a", key: 1), "clients.d/b.conf": section("b", key: 2),
        ])
        var files = FilesOnDisk()
        for name in ["mandos.conf", "clients.conf"] {
            _ = files.answer(FileQuestion(kind: .configuration, path: directory.path + "/" + name))
        }
        _ = files.answer(FileQuestion(kind: .directory, path: directory.path + "/clients.d"))
        #expect(!files.haveChanged)
        // As an editor or a program does it that changes a file in place.
        try directory.write("", to: "clients.conf")
        #expect(files.haveChanged)
        files = FilesOnDisk()
        _ = files.answer(FileQuestion(kind: .directory, path: directory.path + "/clients.d"))
        try directory.write(section("c", key: 3), to: "clients.d/c.conf")
        #expect(files.haveChanged)
        files = FilesOnDisk()
        _ = files.answer(FileQuestion(kind: .configuration, path: directory.path + "/mandos.conf"))
        try directory.write("", to: "mandos.conf")
        #expect(files.haveChanged)
    }

    @Test func `has each name and each key once`() throws {
        let directory = try configuration([
            "clients.conf": section("a", key: 1) + section("b", key: 2),
            "clients.d/x.conf": section("a", key: 3) + section("c", key: 2),
        ])
        #expect(
            try directory.problems() == [
                "clients.d/x.conf:1: [a]: is here twice: also at \(directory.path)/clients.conf:1; rename or remove one"
                    .replacingOccurrences(of: directory.path + "/", with: ""),
                "clients.d/x.conf:5: key_id: is also the key ID of [b] at clients.conf:4; every client needs a key of its own",
            ])
    }

    @Test func `tells all problems of all files`() throws {
        let directory = try configuration([
            "mandos.conf": "[DEFAULT]\nport = x\n",
            "clients.conf": "nonsense\n" + section("a", key: 1, "timeout = x\n"),
            "clients.d/y.conf": section("b", key: 2, "interval = x\n"),
        ])
        let problems = try directory.problems()
        #expect(
            problems.map { $0.prefix { $0 != " " } } == [
                "mandos.conf:2:", "clients.conf:1:", "clients.conf:5:", "clients.d/y.conf:4:",
            ])
    }

    @Test func `reads secret files, with ~ and variables in their paths`() throws {
        let directory = try configuration(["the-secret": "\u{1}binary"])
        let configured = try configuration([
            "clients.conf": "[a]\nfingerprint = 12\nsecfile = \(directory.path)/the-secret\n"
        ])
        #expect(try configured.load().clients[0].secret == Secret(Array("\u{1}binary".utf8)))
        unsafe setenv("MANDOS_TEST_PLACE", directory.path, 1)
        for path in ["$MANDOS_TEST_PLACE/the-secret", "${MANDOS_TEST_PLACE}/the-secret"] {
            let configured = try configuration(["clients.conf": "[a]\nfingerprint = 12\nsecfile = \(path)\n"])
            #expect(try configured.load().clients[0].secret == Secret(Array("\u{1}binary".utf8)))
        }
        let home = try configuration(["clients.conf": "[a]\nfingerprint = 12\nsecfile = ~root/not/there\n"])
        let problems = try home.problems()
        #expect(problems == ["clients.conf:3: secfile: opening /root/not/there: No such file or directory"])
    }

    @Test func `warns of clients that can never identify themselves, and of files open to others`() throws {
        let directory = try configuration(["clients.conf": "[a]\nfingerprint = 12\nsecret = c2VjcmV0\n"])
        #expect(try directory.warnings().count == 1)
        try directory.setMode(0o644, of: "clients.conf")
        #expect(try directory.warnings().contains { $0.contains("is open to others (mode 644); run: chmod 600") })
    }

    @Test func `takes ~ for $HOME`() throws {
        // Other tests may read the variable at the same time; none of them has a path with ~/.
        let before = ProcessInfo.processInfo.environment["HOME"]
        defer { if let before { unsafe setenv("HOME", before, 1) } else { unsafe unsetenv("HOME") } }
        let home = try configuration(["the-secret": "\u{1}binary"])
        unsafe setenv("HOME", home.path, 1)
        let configured = try configuration(["clients.conf": "[a]\nfingerprint = 12\nsecfile = ~/the-secret\n"])
        #expect(try configured.load().clients[0].secret == Secret(Array("\u{1}binary".utf8)))
    }

    @Test func `warns of an interval that leaves no time, once for all clients of [DEFAULT]`() throws {
        let warning = "interval must be shorter than timeout, or clients are disabled between two checks"
        let own = try configuration([
            "clients.conf": section("a", key: 1, "interval = PT5M\n") + section("b", key: 2, "timeout = PT2M\n")
                + section("c", key: 3, "interval = PT4M\n")
        ])
        #expect(
            try own.warnings() == ["clients.conf:4: interval: \(warning)", "clients.conf:8: timeout: \(warning)"])
        let common = try configuration([
            "clients.conf": "[DEFAULT]\ninterval = PT1H\n" + section("a", key: 1) + section("b", key: 2)
                + section("c", key: 3, "timeout = PT2H\n")
        ])
        #expect(try common.warnings() == ["clients.conf:2: interval: \(warning)"])
    }

    @Test func `with 2,000 clients is read in a moment`() throws {
        let text = (1...2000).map { section("client \($0)", key: $0, "timeout = PT5M\nhost = h\($0)\n") }.joined()
        #expect(try configuration(["clients.conf": text]).load().clients.count == 2000)
    }
}
