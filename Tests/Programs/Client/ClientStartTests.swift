import Foundation
import TestSupport
import Testing

@Suite struct `A client that cannot start` {
    @Test(arguments: [
        (["--server=:80"], Int32(64), "--server=:80: there is no address before the port"),
        (["--domain="], 64, "--domain: not a domain"), (["--delay=soon"], 64, "--delay=soon: not a number of seconds"),
        (["--connect=nowhere"], 64, "--connect=nowhere: there is no port"),
        (["--connect=::1:1", "--retry=soon"], 64, "--retry=soon: not a number of seconds"),
        (["--network-hook-timeout=soon"], 64, "--network-hook-timeout=soon: not a number of seconds"),
        (["--connect=::1:1", "--dh-bits=-1"], 64, "not a number of bits"),
        (["--connect=::1:1", "--nonsense"], 64, "--nonsense"),
        (["--connect=::1:1", "extra"], 64, "unexpected argument \"extra\""),
        (["--connect=::1:1", "--tls-pubkey=/nonexistent"], 66, "opening /nonexistent: No such file or directory"),
        (["--connect=::1:1", "--tls-privkey=/etc/passwd"], 66, "/etc/passwd: reading the TLS private key"),
        (["--connect=::1:1", "--tls-pubkey=/dev/zero"], 66, "reading /dev/zero: File too large"),
        (["--connect=::1:1", "--priority=NONSENSE"], 64, "priority string, from \"NONSENSE\""),
    ])
    func `says why`(options: [String], status: Int32, message: String) async throws {
        let keys = try await Keys.make()
        let result = try await run(Place.program("mandos-client"), keys.clientOptions + options)
        #expect(result.status == status)
        #expect(result.errors.contains(message), "\(result.errors)")
        #expect(result.output.isEmpty)
    }

    @Test(arguments: ["--help", "-?", "--usage"]) func `answers a call for help`(option: String) async throws {
        let result = try await run(Place.program("mandos-client"), [option])
        #expect(result.status == 0)
        #expect(String(decoding: result.output, as: UTF8.self).contains("--connect=ADDRESS:PORT"))
    }

    @Test(arguments: ["mandos", "mandos-client", "mandos-keygen"])
    func `tells its version`(program: String) async throws {
        let result = try await run(Place.program(program), ["--version"])
        #expect(result.status == 0)
        #expect(String(decoding: result.output, as: UTF8.self).wholeMatch(of: /[a-z-]+ \d+\.\d+\.\d+\n/) != nil)
    }
}
