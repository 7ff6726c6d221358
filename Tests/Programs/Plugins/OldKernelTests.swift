import Foundation
import TestSupport
import Testing

@Suite struct `On an old kernel` {
    @Test(arguments: RefusedCalls.ofOldKernels)
    func `plugin-runner runs its plugins`(refused: RefusedCalls) async throws {
        let plugins = try TemporaryDirectory()
        try plugins.writeScript("sleep 0.1; printf secret\n", to: "slow")
        try plugins.writeScript("exit 69\n", to: "fails")
        let command = refused.command(
            Place.program("plugin-runner"), ["--plugin-dir=" + plugins.path, "--config-file=/nonexistent"])
        let result = try await runForText(command.path, command.arguments)
        #expect(result.status == 0 && result.output == "secret", "\(result.errors)")
    }
}
