import Foundation
import Glibc
import TestSupport
import Testing

/// The disk refuses to say that it has written anything: what is acknowledged then was never on the disk.
@Suite(.needsRoot) struct `What is acknowledged` {
    /// Has something happen to every fsync(2) of a process, until ``end()``. Source: strace(1), `--inject`.
    private final class BadDisk {
        private let tracer: RunningProgram

        init(of process: Int32, _ what: String) async throws {
            tracer = try RunningProgram(
                "/usr/bin/strace",
                ["-f", "-qq", "-p", "\(process)", "-e", "trace=fsync,fdatasync"]
                    + ["-e", "inject=fsync,fdatasync:\(what)", "-o", "/dev/null"])
            let tasks = "/proc/\(process)/task"
            try await waitUntil("a tracer", details: { tracer.errors }) {
                try FileManager.default.contentsOfDirectory(atPath: tasks).allSatisfy { task in
                    let status = FileManager.default.contents(atPath: "\(tasks)/\(task)/status") ?? Data()
                    return !String(decoding: status, as: UTF8.self).contains("TracerPid:\t0\n")
                }
            }
        }

        func end() async throws {
            tracer.signal(SIGTERM)
            _ = try await tracer.ending()
        }
    }

    enum Request: CaseIterable {
        case disable, bulk, deny, remove, reload

        var options: [String] {
            switch self {
            case .disable: ["--disable", "foo"]
            case .bulk: ["--disable", "--all"]
            case .deny: ["--deny", "foo"]
            case .remove: ["--remove", "foo"]
            case .reload: ["--reload"]
            }
        }
    }

    @Test(arguments: Request.allCases) func `has reached the disk before`(request: Request) async throws {
        let bus = try await TestBus()
        let rest = "timeout = PT1H\napproval_delay = PT1S\napproval_duration = PT1H\n"
        let keys = try await Keys.make()
        let foo = try await keys.section("foo", password: Data("secret".utf8)) + "checker = true\n" + rest
        let bar = section("bar", key: 2, rest)
        let server = try await started(foo + bar, on: bus)
        if request == .reload {
            try server.configuration.write(foo + "enabled = no\n" + bar, to: "clients.conf")
        }
        let disk = try await BadDisk(of: server.program.processID, "error=EIO")
        let refused = try await bus.control(request.options)
        #expect(refused.status == 1, "it was acknowledged")
        // The database says it in its own words; the mark may be first, if a commit was under way.
        #expect(["disk I/O error", "Input/output error"].contains { refused.errors.contains($0) }, "\(refused.errors)")
        try await disk.end()

        let answered = try await bus.control(request.options)
        #expect(answered.status == 0, "\(answered.errors)")
        server.program.signal(SIGKILL)
        _ = try await server.program.ending()
        let again = try await Server(in: server.configuration, bus: bus)
        _ = try await again.program.line(with: "on the bus")
        let client = try client(keys, [again.address])
        _ = try await client.line(with: "it has no secret for us")
        #expect(client.output.isEmpty)
        if request == .bulk { #expect(try await bus.control(["--is-enabled", "bar"]).status == 1) }
    }

    /// Requests that give a client a right back, each with what operators did before.
    enum Grant: CaseIterable {
        case enable, forget, add, reload

        func options(in directory: TemporaryDirectory) -> [String] {
            switch self {
            case .enable: ["--enable", "foo"]
            case .forget: ["--forget", "foo"]
            case .add: ["--add", directory.path + "/new"]
            case .reload: ["--reload"]
            }
        }
    }

    /// The fifth fsync(2) of a commit is that of the journal after it was truncated: by then, the change is in the file.
    @Test(arguments: Grant.allCases, [SIGKILL, SIGTERM])
    func `was refused by the disk at the last moment, and is not in force after a restart`(grant: Grant, end: Int32)
        async throws
    {
        let bus = try await TestBus()
        let foo = section("foo", "timeout = PT1H\n")
        let bar = section("bar", key: 2)
        let server = try await started(grant == .add ? bar : foo + bar, on: bus)
        switch grant {
        case .add: try server.configuration.write(foo, to: "new")
        case .enable: #expect(try await bus.control(["--disable", "foo"]).status == 0)
        case .forget:
            #expect(try await bus.control(["--disable", "foo"]).status == 0)
            try server.configuration.write(bar, to: "clients.conf")
            #expect(try await bus.control(["--reload"]).status == 0)
        case .reload:
            #expect(try await bus.control(["--remove", "foo"]).status == 0)
            try server.configuration.write(bar, to: "clients.conf")
        }
        let disk = try await BadDisk(of: server.program.processID, "error=EIO:when=5+")
        let answer = try await bus.control(grant.options(in: server.configuration))
        #expect(answer.status == 1, "\(answer)")
        #expect(answer.errors.contains("try again"), "\(answer)")
        let status = try await bus.control(["--status"])
        #expect(status.status == 1)
        // The mark may have failed first, if a commit was under way.
        #expect(status.output.contains(/Problem: .*(disk I\/O|Input\/output) error/), "\(status.output)")
        server.program.signal(end)
        _ = try await server.program.ending()
        try await disk.end()
        try server.configuration.write(grant == .add ? bar : foo + bar, to: "clients.conf")
        let again = try await Server(in: server.configuration, bus: bus)
        _ = try await again.program.line(with: "on the bus")
        #expect(try await bus.control(["--is-enabled", "foo"]).status != 0)
    }

    @Test(arguments: [false, true])
    func `is not what the disk refused at the last moment`(isDisabledAgain: Bool) async throws {
        let bus = try await TestBus()
        let server = try await started(section("foo", "timeout = PT1H\n"), on: bus)
        #expect(try await bus.control(["--disable", "foo"]).status == 0)
        let disk = try await BadDisk(of: server.program.processID, "error=EIO:when=5")
        #expect(try await bus.control(["--enable", "foo"]).status == 1)
        try await disk.end()
        if isDisabledAgain { #expect(try await bus.control(["--disable", "foo"]).status == 0) }
        server.program.signal(SIGKILL)
        _ = try await server.program.ending()
        let again = try await Server(in: server.configuration, bus: bus)
        _ = try await again.program.line(with: "on the bus")
        #expect(try await bus.control(["--is-enabled", "foo"]).status == 1)
    }

    @Test func `is saved by itself once the disk is well again`() async throws {
        let bus = try await TestBus()
        let server = try await started(section("foo", "timeout = PT1H\n"), on: bus)
        #expect(try await bus.control(["--disable", "foo"]).status == 0)
        let disk = try await BadDisk(of: server.program.processID, "error=EIO:when=5+")
        #expect(try await bus.control(["--enable", "foo"]).status == 1)
        try await disk.end()
        try await waitUntil("a state without a problem") {
            try await !bus.control(["--status"]).output.contains("Problem: ")
        }
        #expect(try await bus.control(["--enable", "foo"]).status == 0)
        server.program.signal(SIGKILL)
        _ = try await server.program.ending()
        let again = try await Server(in: server.configuration, bus: bus)
        _ = try await again.program.line(with: "on the bus")
        #expect(try await bus.control(["--is-enabled", "foo"]).status == 0)
    }

    @Test func `waits for a disk that hangs, and nothing else does`() async throws {
        let bus = try await TestBus()
        let keys = try await Keys.make()
        let foo = try await keys.section("foo", password: Data("secret".utf8)) + "checker = true\n"
        let server = try await started(foo + section("bar", key: 2), on: bus)
        let hour = 3_600_000_000
        let disk = try await BadDisk(of: server.program.processID, "delay_enter=\(hour)")
        func disable(_ name: String) throws -> RunningProgram {
            try RunningProgram(Place.program("mandos-ctl"), ["--disable", name], environment: bus.environment)
        }
        func waitUntilDisabled(_ name: String) async throws {
            try await waitUntil("\(name) disabled") { try await bus.control(["--is-enabled", name]).status == 1 }
        }
        let first = try disable("foo")
        try await waitUntilDisabled("foo")
        // While one operator waits, another can disable too.
        let second = try disable("bar")
        try await waitUntilDisabled("bar")
        let client = try client(keys, [server.address])
        _ = try await client.line(with: "it has no secret for us")
        #expect(first.isRunning && second.isRunning)
        try await disk.end()
        #expect(try await first.ending() == .exit(status: 0))
        #expect(try await second.ending() == .exit(status: 0))
    }

    /// Stands between a client and the server: once the client has proved its key, it reads nothing more from the server until
    /// there is a file `go`, and then writes to `received` how much still comes.
    private static let stuckProxy = """
        import os, select, socket, sys, time
        directory = sys.argv[2]
        def write(name, text):
            open(directory + "/new", "w").write(text)
            os.rename(directory + "/new", directory + "/" + name)
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
        write("port", str(listener.getsockname()[1]))
        client = listener.accept()[0]
        server = socket.socket(socket.AF_INET6)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.connect(("::1", int(sys.argv[1])))
        has_answered = has_proved = False
        while not has_proved:
            for ready in select.select([client, server], [], [])[0]:
                data = ready.recv(65536)
                if ready is server:
                    has_answered = True
                    client.sendall(data)
                else:
                    has_proved = has_answered
                    server.sendall(data)
        write("stuck", "")
        while not os.path.exists(directory + "/go"): time.sleep(0.01)
        received = 0
        try:
            while data := server.recv(65536): received += len(data)
        except ConnectionResetError: pass
        write("received", str(received))
        time.sleep(600)
        """

    /// A client that keeps its receiving window closed, after it has proved its key.
    @Test(arguments: ["disable", "kill"]) func `is not undone by what the kernel still sends`(end: String) async throws
    {
        let bus = try await TestBus()
        let keys = try await Keys.make()
        let directory = try TemporaryDirectory()
        // More than a receiving buffer that was made small takes.
        let password = Data((0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 167) })
        let server = try await started(
            try await keys.section("foo", password: password) + "checker = true\ntimeout = PT1H\n", on: bus)
        let proxy = try RunningProgram("/usr/bin/python3", ["-c", Self.stuckProxy, "\(server.port)", directory.path])
        let port = try await eventually("a port", details: { proxy.errors }) {
            directory.contents(of: "port").flatMap { String(decoding: $0, as: UTF8.self) }
        }
        let client = try client(keys, ["[::1]:\(port)"])
        _ = try await server.program.line(with: "sending the secret")
        try await waitUntil("a window that is closed") { directory.contains("stuck") }
        if end == "kill" {
            server.program.signal(SIGKILL)
            _ = try await server.program.ending()
        } else {
            #expect(try await bus.control(["--disable", "foo"]).status == 0)
        }
        try directory.write("", to: "go")
        let received = try await eventually("the end of the connection", details: { proxy.errors }) {
            directory.contents(of: "received").flatMap { Int(String(decoding: $0, as: UTF8.self)) }
        }
        #expect(received < password.count)
        #expect(client.output.isEmpty)
    }
}
