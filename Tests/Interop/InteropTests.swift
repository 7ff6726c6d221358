import Foundation
import TestSupport
import Testing

/// Every program of ours with every one of the reference's.
@Suite(.needsReference, .needsRoot, .serialized)
struct `Together with the reference implementation` {
    /// A client of the server: its name, keys and password.
    struct Host {
        let name: String
        let keys: Keys
        let password: Data
    }

    /// A host for each kind of keys and each tricky password.
    static func makeHosts() async throws -> [Host] {
        var hosts: [Host] = []
        for (name, password) in trickyPasswords {
            let small = ["--length", "2048", "--sublength", "2048"]
            hosts.append(Host(name: "our keys, \(name)", keys: try await Keys.make(), password: password))
            hosts.append(Host(name: "its keys, \(name)", keys: try await Reference.makeKeys(small), password: password))
        }
        return hosts
    }

    @Test func `passwords come back byte for byte, whichever program does what`() async throws {
        let hosts = try await Self.makeHosts()
        for sectionsAreOurs in [true, false] {
            var clients = ""
            for host in hosts {
                clients +=
                    sectionsAreOurs
                    ? try await host.keys.section(host.name, password: host.password)
                    : try await Reference.section(host.name, host.keys, password: host.password)
            }
            let ours = try await Server(clients: clients)
            let theirs = try await Reference.Server(clients: clients)
            for host in hosts {
                for (server, address) in [("our server", "::1:\(ours.port)"), ("its server", theirs.address)] {
                    for (client, program) in [
                        ("our client", try client(host.keys, [address])),
                        ("its client", try Reference.client(host.keys, address)),
                    ] {
                        let ending = try await program.ending()
                        let what = "\(host.name), \(sectionsAreOurs ? "our" : "its") section, \(server), \(client)"
                        #expect(ending == .exit(status: 0), "\(what): \(program.errors)")
                        #expect(program.output == host.password, "\(what)")
                    }
                }
            }
        }
    }

    @Test func `a server that does not know us says so in the same way`() async throws {
        let known = try await Keys.make()
        let unknown = try await Keys.make()
        let section = try await known.section("foo", password: Data("secret".utf8))
        let theirs = try await Reference.Server(clients: section)
        let ours = try client(unknown, [theirs.address])
        _ = try await ours.line(with: "it has no secret for us")

        let server = try await Server(clients: section)
        let their = try Reference.client(unknown, "::1:\(server.port)", ["--debug"])
        let refusal = try await server.program.line(with: "secret refused")
        #expect(refusal.contains("no client has this key ID"))
        #expect(ours.output.isEmpty && their.output.isEmpty)
    }
}
