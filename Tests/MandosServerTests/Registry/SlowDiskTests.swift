import MandosCore
import MandosFormats
import TestSupport
import Testing

@testable import MandosServer

/// The registry while a commit takes as long as the disk likes.
@Suite struct `On a slow disk` {
    private let secret = SecretDecision.release(Secret(Array("secret".utf8)))

    @Test func `a client is refused at once, and others are served, checked and answered meanwhile`() async throws {
        let world = World()
        let registry = try world.registry(settings("a", "b", rest: "interval = PT1M\n"))
        let disabling = try await world.begin { try await registry.disable("a") }
        #expect(await world.decision(registry) == .refuse(.disabled))
        #expect(await world.decision(registry, key: 2) == secret)
        world.clock.advance(by: .minutes(1))
        #expect(await registry.advance().map(\.name) == ["b"])
        #expect(await registry.lateness == .zero)
        #expect(world.store.records["a"]?.until != nil)
        world.store.release()
        try await disabling.value
        #expect(world.store.records["a"]?.until == nil, "acknowledged once it is saved")
    }

    @Test func `what was already disabled is not acknowledged before that is saved`() async throws {
        let world = World()
        let registry = try world.registry(settings("a"))
        let first = try await world.begin { try await registry.disable("a") }
        let isDone = Flag()
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                try? await registry.disable("a")
                isDone.set()
            }
            for _ in 0..<20 { await Task.yield() }
            #expect(!isDone.isSet)
            world.store.release()
        }
        try await first.value
        #expect(world.store.records["a"]?.until == nil)
    }

    @Test func `who disables a client wins over who enables it at the same time`() async throws {
        let world = World()
        let registry = try world.registry(settings("a"))
        try await registry.disable("a")
        let enabling = try await world.begin { try await registry.enable("a") }
        let disabling = Task { try await registry.disable("a") }
        try await waitUntil("the other") { await !registry.disabling.isEmpty }
        world.store.release()
        // It was enabled, and then disabled.
        try await enabling.value
        try await disabling.value
        #expect(await world.decision(registry) == .refuse(.disabled))
        #expect(world.store.records["a"]?.until == nil)
    }

    @Test(arguments: ["a", "renamed"])
    func `who disables a client wins over a reload that enables it`(name: String) async throws {
        let world = World()
        let registry = try world.registry(settings("a", rest: "enabled = no\n"))
        // The file enables it, under its name or another.
        let reloading = try await world.begin { _ = try await registry.reload(settings(name)) }
        let disabling = Task { try await registry.disable("a") }
        try await waitUntil("the other") { await !registry.disabling.isEmpty }
        world.store.release()
        try await reloading.value
        try await disabling.value
        await registry.saveUnsaved()
        #expect(await world.decision(registry) == .refuse(.disabled))
        #expect(await world.decision(try world.registry(settings(name))) == .refuse(.disabled))
    }

    @Test func `what happens to a client during a reload is not lost`() async throws {
        let world = World()
        let registry = try world.registry(settings("a", "b"))
        _ = await registry.advance()
        let reloading = try await world.begin {
            _ = try await registry.reload(settings("a", "b", rest: "timeout = PT1H\n"))
        }
        await registry.checkerEnded("b", .exit(status: 1))
        world.store.release()
        try await reloading.value
        #expect(await registry.snapshot("b")?.client.lastCheckerStatus == .exit(status: 1))
        #expect(await registry.snapshot("b")?.client.settings.timeout == .minutes(60))
        await registry.saveUnsaved()
        #expect(world.store.records["b"]?.lastCheckerStatus == .exit(status: 1))
    }

    @Test func `many are disabled in one step, and all of them even if that cannot be saved`() async throws {
        let world = World()
        let names = (1...9).map { "c\($0)" }
        let registry = try world.registry(settings(names))
        let before = world.store.commits
        try await registry.disable(names)
        #expect(world.store.commits == before + 1)
        for name in names { try await registry.enable(name) }
        world.store.setFull(true)
        await #expect(throws: Registry.Failure.self) { try await registry.disable(names) }
        for key in 1...9 { #expect(await world.decision(registry, key: key) == .refuse(.disabled)) }
    }

    enum Loss: CaseIterable {
        case disabled, denied, removed, expired, left, otherSecret
    }

    @Test(arguments: Loss.allCases)
    func `a client that loses its right while it receives the secret is cut off`(loss: Loss) async throws {
        let world = World()
        let registry = try world.registry(settings("a", "b"))
        let isCut = Flag()
        let waiter = ApprovalWaiter(
            keyID: KeyID(hexadecimal: keyID(1)), address: "", since: world.clock.now.boot,
            cut: { isCut.set() })
        #expect(await registry.answer(waiter).decision == secret)
        switch loss {
        case .disabled: try await registry.disable("a")
        case .denied: try await registry.answerRequests(of: "a", approved: false)
        case .removed: try await registry.remove("a")
        case .left: _ = try await registry.reload(Array(settings("a", "b").dropFirst()))
        case .otherSecret: try await registry.change(.secret(Array("other".utf8)), of: "a")
        case .expired:
            world.clock.advance(by: .minutes(5))
            _ = await registry.advance()
            try await waitUntil("the cut") { isCut.isSet }
        }
        #expect(isCut.isSet, "before that was acknowledged")
        await registry.requestEnded(waiter)
        #expect(await registry.cuts.isEmpty)
        #expect(await registry.receiving.isEmpty)
    }

    @Test func `what changes nothing about the secret cuts nobody off`() async throws {
        let world = World()
        let registry = try world.registry(settings("a", "b"))
        let isCut = Flag()
        let waiter = ApprovalWaiter(
            keyID: KeyID(hexadecimal: keyID(1)), address: "", since: world.clock.now.boot,
            cut: { isCut.set() })
        _ = await registry.answer(waiter)
        try await registry.disable("b")
        try await registry.change(.host("elsewhere"), of: "a")
        try await registry.answerRequests(of: "a", approved: true)
        _ = try await registry.reload(settings("a", "b", rest: "timeout = PT1H\n"))
        await registry.waitForCuts()
        #expect(!isCut.isSet)
    }

    @Test func `what failed at the last moment is put right before anything else is saved`() async throws {
        let world = World()
        let registry = try world.registry(settings("a", "b"))
        try await registry.disable("a")
        #expect(await registry.problems.isEmpty)
        world.store.setFailsLate(true)
        await #expect(throws: Registry.Failure.self) { try await registry.enable("a") }
        #expect(world.store.records["a"]?.until != nil)
        #expect(await registry.problems.count == 1)
        world.store.setFailsLate(false)
        try await registry.change(.host("elsewhere"), of: "b")
        #expect(world.store.records["a"]?.until == nil)
        #expect(await registry.problems.isEmpty)
    }

    @Test func `saving is tried again after longer and longer pauses, and at the end`() async throws {
        let world = World()
        let registry = try world.registry(settings("a"))
        world.store.setFull(true)
        await #expect(throws: Registry.Failure.self) { try await registry.disable("a") }
        var tries = 0
        for _ in 0..<600 {
            world.clock.advance(by: .seconds(1))
            guard await registry.takeDueSave() else { continue }
            tries += 1
            await registry.saveUnsaved()
        }
        #expect((30...60).contains(tries), "\(tries)")
        world.store.setFull(false)
        await registry.saveAtTheEnd()
        #expect(world.store.records["a"]?.until == nil)
    }
}
