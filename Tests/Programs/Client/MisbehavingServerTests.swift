import Foundation
import MandosTLS
import TestSupport
import Testing

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

    @Test func `in great numbers does not keep the client from the right one, neither before it nor after`()
        async throws
    {
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
