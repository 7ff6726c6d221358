import Foundation
import Glibc
import MandosTLS
import TestSupport
import Testing

@Suite struct `Fetching a password` {
    @Test func `gives back every byte`() async throws {
        for (name, password) in trickyPasswords {
            let keys = try await Keys.make()
            let server = try await Server(clients: keys.section("foo", password: password))
            let client = try client(keys, [server.address])
            let ending = try await client.ending()
            #expect(ending == .exit(status: 0), "\(name): \(client.errors)")
            #expect(client.output == password, "\(name)")
            #expect(client.errors.isEmpty)
            _ = try await server.program.line(with: "secret sent")
        }
    }

    @Test func `works by host name, with IPv4, and with several servers of which one lives`() async throws {
        let keys = try await Keys.make()
        let server = try await Server(clients: keys.section("foo", password: Data("secret".utf8)))
        for servers in [
            ["localhost:\(server.port)"], ["127.0.0.1:\(server.port)"], ["::1:\(server.port)"],
            ["127.0.0.1:1", "no.such.host.invalid:1", server.address],
        ] {
            let client = try client(keys, servers)
            #expect(try await client.ending() == .exit(status: 0), "\(client.errors)")
            #expect(client.output == Data("secret".utf8))
        }
    }

    @Test func `waits for a server that comes later`() async throws {
        let keys = try await Keys.make()
        let section = try await keys.section("foo", password: Data("secret".utf8))
        let first = try await Server(clients: section)
        first.program.signal(SIGTERM)
        _ = try await first.program.ending()
        let client = try client(keys, [first.address], ["--retry=0.2"])
        _ = try await client.line(with: "Connection refused")
        let second = try await Server(clients: section, options: ["--port", "\(first.port)"])
        #expect(try await client.ending() == .exit(status: 0))
        #expect(client.output == Data("secret".utf8))
        #expect(client.errors.split(separator: "\n").count == 1, "one problem is told once: \(client.errors)")
        #expect(second.program.isRunning)
    }

    @Test func `works with gpg where there is no other program, and leaves nothing behind`() async throws {
        let keys = try await Keys.make()
        let password = try await keys.section("foo", password: Data("secret".utf8))
        let server = try await Server(clients: password)
        let temporary = try TemporaryDirectory()
        let trial = try await run(
            Place.program("mandos-keygen"), ["--dir", keys.directory.path, "--test", "--connect", server.address],
            environment: ["TMPDIR": temporary.path])
        #expect(trial.status == 0, "\(trial.errors)")
        let lines = String(decoding: trial.output, as: UTF8.self).split(separator: "\n")
        #expect(lines.contains { $0.contains("/gpg decrypts") })
        #expect(lines.last == "ok: \(server.address) gives a password, and it decrypts")
        #expect(!String(decoding: trial.output, as: UTF8.self).contains("secret"))
        #expect(try temporary.names().isEmpty)
    }

    @Test func `works through a pipe that takes little at a time`() async throws {
        let keys = try await Keys.make()
        let password = Data((0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) })
        let server = try await Server(clients: keys.section("foo", password: password))
        let client = ([Place.program("mandos-client"), "--connect=\(server.address)"] + keys.clientOptions).joined(
            separator: " ")
        // Python makes the pipe's end non-blocking: that flag is shared with the client that inherits it.
        let slow = """
            import os, subprocess, sys, time
            end, start = os.pipe()
            os.set_blocking(start, False)
            client = subprocess.Popen(sys.argv[1].split(), stdout=start)
            os.close(start)
            while chunk := os.read(end, 20000):
                sys.stdout.buffer.write(chunk)
                time.sleep(0.005)
            sys.exit(client.wait())
            """
        let result = try await run("/usr/bin/python3", ["-c", slow, client])
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == password)
    }

    @Test(.needsRoot)
    func `works with a link-local address and its interface`() async throws {
        let keys = try await Keys.make()
        let directory = try TemporaryDirectory()
        try await directory.write(keys.section("foo", password: Data("secret".utf8)), to: "clients.conf")
        // In a network namespace, where an interface has nothing but its link-local address.
        let script = """
            set -e
            \(shellWaiting)
            ip link set lo up
            ip link add outside type veth peer name inside
            ip link set outside addrgenmode none up
            ip link set inside up
            ip -6 address add fe80::1/64 dev outside nodad
            "$0" --configdir "$1" --statedir "$1" --foreground --port 4711 --no-zeroconf --no-dbus --debuglevel INFO \\
                2>"$1/log" &
            wait_for "$1/log" ' serving'
            shift
            "$@" --connect=fe80::1:4711 --interface=outside
            "$@" --delay=0 --connect=fe80::1:4711 --interface=nonexistent --connect=fe80::1%outside:4711
            timeout 1 "$@" --connect=fe80::1:4711 || true
            """
        let result = try await runInNamespaces(
            script, [Place.program("mandos"), directory.path, Place.program("mandos-client")] + keys.options,
            ownNetwork: true)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == Data("secretsecret".utf8))
        #expect(result.errors.contains("interface nonexistent: No such device"))
        #expect(result.errors.contains("a link-local address needs an interface"))
    }

    @Test(arguments: [SIGTERM, SIGINT, SIGHUP])
    func `ends at a signal`(signal: Int32) async throws {
        let keys = try await Keys.make()
        let server = try FakeServer(FakeServer.waitForEnd)
        let client = try client(keys, [server.address], ["--debug"])
        _ = try await client.line(with: "trying")
        client.signal(signal)
        #expect(try await client.ending() == .signal(signal))
    }
}

@Suite struct `A server that misbehaves` {
    struct Misbehaviour: Sendable, CustomTestStringConvertible {
        let testDescription: String
        /// What the client says of it, if it can know.
        let complaint: String?
        let make: @Sendable () async throws -> FakeServer
    }

    static let all: [Misbehaviour] = [
        .init(testDescription: "says nothing", complaint: nil) { try FakeServer(FakeServer.waitForEnd) },
        .init(testDescription: "closes at once", complaint: "closed the connection during the TLS handshake") {
            try FakeServer { _ in }
        },
        .init(testDescription: "speaks HTTP", complaint: "TLS handshake: ") {
            try FakeServer {
                _ = FakeServer.send(Array("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".utf8), to: $0)
                FakeServer.waitForEnd(of: $0)
            }
        },
        .init(testDescription: "sends garbage without end", complaint: "TLS handshake: ") {
            try FakeServer { while FakeServer.send([UInt8](repeating: 0x5A, count: 10_000), to: $0) {} }
        },
        .init(testDescription: "has no secret for us", complaint: "it has no secret for us") {
            try FakeServer.afterHandshake { session in
                session.sayGoodbye()
                return false
            }
        },
        .init(testDescription: "sends half a message", complaint: "in the middle of the message") {
            try FakeServer.afterHandshake { session in
                try session.write([UInt8](repeating: 1, count: 100).span)
                return false
            }
        },
        .init(testDescription: "sends no OpenPGP message", complaint: "not an encrypted OpenPGP message") {
            try FakeServer.afterHandshake { session in
                try session.write(Array("your password is swordfish".utf8).span)
                session.sayGoodbye()
                return false
            }
        },
        .init(testDescription: "sends a message that anybody could have written", complaint: "not an encrypted OpenPGP")
        {
            // A literal data packet: an OpenPGP message, but not an encrypted one.
            try FakeServer.afterHandshake { session in
                try session.write(([0xCB, 11, 0x62, 0, 0, 0, 0, 0] + Array("EVIL!".utf8)).span)
                session.sayGoodbye()
                return false
            }
        },
        .init(testDescription: "sends more than any secret", complaint: "it sent more than 16777216 bytes") {
            try FakeServer.afterHandshake { session in
                try session.write([UInt8](repeating: 1, count: 100_000).span)
                return true
            }
        },
        .init(testDescription: "sends another client's secret", complaint: "the message cannot be decrypted: ") {
            let other = try await Keys.make().section("other", password: Data("not yours".utf8))
            let base64 = other.split(separator: "\n").filter { $0.hasPrefix("    ") }.joined()
            let secret = [UInt8](try #require(Data(base64Encoded: base64.replacing(" ", with: ""))))
            return try FakeServer.afterHandshake { session in
                try session.write(secret.span)
                session.sayGoodbye()
                return false
            }
        },
    ]

    @Test(arguments: all)
    func `is told, and does not keep the client from another one`(misbehaviour: Misbehaviour) async throws {
        let keys = try await Keys.make()
        let bad = try await misbehaviour.make()
        let first = try client(keys, [bad.address])
        if let complaint = misbehaviour.complaint {
            let line = try await first.line(with: complaint)
            #expect(line.hasPrefix("mandos-client: \(bad.address): "))
        }
        #expect(first.isRunning, "it keeps trying")
        #expect(first.output.isEmpty)

        let good = try await Server(clients: keys.section("foo", password: Data("secret".utf8)))
        let second = try client(keys, [bad.address, good.address])
        #expect(try await second.ending() == .exit(status: 0), "\(second.errors)")
        #expect(second.output == Data("secret".utf8))
    }

    @Test func `in great numbers does not keep the client from the right one, neither before it nor after`() async throws {
        let keys = try await Keys.make()
        let silent = try FakeServer(FakeServer.waitForEnd)
        let many = Array(repeating: silent.address, count: 250)
        let good = try await Server(
            clients: keys.section("foo", password: Data("secret".utf8)) + "approval_delay = PT2S\n")
        for servers in [many + [good.address], [good.address] + many] {
            let client = try client(keys, servers, ["--debug"])
            #expect(try await client.ending() == .exit(status: 0), "\(client.errors.suffix(2000))")
            #expect(client.output == Data("secret".utf8))
            #expect(client.errors.contains("given up for others: too many servers at once"))
        }
    }

    @Test func `and sends much, together with others, does not fill our memory`() async throws {
        let keys = try await Keys.make()
        let generous = try FakeServer.afterHandshake { session in
            try session.write([UInt8](repeating: 1, count: 100_000).span)
            return true
        }
        let client = try client(keys, Array(repeating: generous.address, count: 12))
        _ = try await client.line(with: "given up: servers have sent too much at once")
        let status = try String(contentsOfFile: "/proc/\(client.processID)/status", encoding: .utf8)
        let peak = try #require(status.firstMatch(of: /VmHWM:\s+(\d+) kB/).flatMap { Int($0.output.1) })
        // What is kept is 48 MiB at most; an array that grows is there twice for a moment.
        #expect(peak < 150_000)
    }

    @Test func `is given up by mandos-keygen --test with the reason`() async throws {
        let keys = try await Keys.make()
        let server = try FakeServer { _ in }
        let trial = try await run(
            Place.program("mandos-keygen"), ["--dir", keys.directory.path, "--test", "--connect", server.address])
        #expect(trial.status == 1)
        #expect(trial.errors.contains("closed the connection during the TLS handshake"))
    }
}
