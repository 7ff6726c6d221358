import MandosCore
import MandosFormats
import TestSupport
import Testing

@testable import MandosServer

/// What operators see on D-Bus.
@Suite struct `What is published` {
    @Test func `the expiry reads the same until it changes`() async throws {
        let world = World()
        let registry = try world.registry(settings("a"))
        let first = await registry.snapshot("a")?.expires
        #expect(first != nil)
        // The two clocks do not tick together.
        world.clock.stepWall(by: TimeSpan(milliseconds: 1))
        #expect(await registry.snapshot("a")?.expires == first)
        world.clock.advance(by: .seconds(10))
        #expect(await registry.snapshot("a")?.expires == first)
        await registry.wasSeen("a")
        #expect(await registry.snapshot("a")?.expires != first)
        try await registry.disable("a")
        #expect(await registry.snapshot("a")?.expires == nil)
    }

    @Test func `a path keeps its client over restarts`() async throws {
        let world = World()
        let registry = try world.registry(settings("a_b"))
        #expect(await registry.snapshot("a_b")?.path == "/clients/a_b")
        _ = try await registry.reload(settings("a_b", "a.b"))
        #expect(await registry.snapshot("a.b")?.path == "/clients/a_b_2")
        await registry.saveUnsaved()
        for names in [["a.b", "a_b"], ["a-b", "a.b", "a_b", "a_b_2"], ["a.b", "a_b"], ["a.b"]] {
            world.clock.advance(by: .seconds(1))
            let again = try world.registry(settings(names))
            #expect(await again.snapshot("a.b")?.path == "/clients/a_b_2")
            if names.contains("a_b") { #expect(await again.snapshot("a_b")?.path == "/clients/a_b") }
            await again.saveUnsaved()
        }
    }

    @Test func `a path that somebody has just looked up never becomes another client's`() async throws {
        let world = World()
        let registry = try world.registry(settings("a.b"))
        let path = try #require(await registry.snapshot("a.b")?.path)
        _ = try await registry.reload(settings("other"))
        _ = try await registry.reload(settings(["a_b", "a.b"]))
        #expect(await registry.snapshot("a_b")?.path != path)
        #expect(await registry.snapshot("a.b")?.path == path)
    }
}
