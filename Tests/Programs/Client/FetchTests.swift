import Foundation
import Glibc
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
            mount -t tmpfs tmpfs /mnt
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
            "$@" --connect=fe80::1:4711 2>/mnt/errors & client=$!
            wait_for /mnt/errors 'a link-local address needs an interface'
            kill "$client"
            # It removes a directory.
            wait "$client" || true
            """
        let result = try await runInNamespaces(
            script, [Place.program("mandos"), directory.path, Place.program("mandos-client")] + keys.options,
            ownNetwork: true)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == Data("secretsecret".utf8))
        #expect(result.errors.contains("interface nonexistent: No such device"))
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
