import MandosFormats
import TestSupport
import Testing

@testable import MandosCore

private func settings(_ name: String, key: Int = 1, rest: String = "") throws -> ClientSettings {
    let digits = String(key)
    let keyID = String(repeating: "0", count: 64 - digits.count) + digits
    return try AddedClient.read("[\(name)]\nkey_id = \(keyID)\nsecret = c2VjcmV0\n\(rest)", defaults: [])
}

private func circumstances(_ seconds: Int64 = 0) -> Roster.Circumstances {
    let now = Moment(
        boot: BootTime(milliseconds: 1_000_000 + seconds * 1000),
        wall: Timestamp(secondsSince1970: 1_800_000_000 + seconds))
    return Roster.Circumstances(bootID: BootID("test"), now: now, jitter: { _ in .zero })
}

/// A roster and its store, without an actor and without a disk.
private struct World {
    private(set) var roster = Roster()
    private(set) var saved: [String: ClientRecord] = [:]

    private mutating func carryOut(_ plan: RosterPlan) {
        for name in plan.forgotten { saved[name] = nil }
        for record in plan.records { saved[record.name] = record }
        roster.adopt(plan)
    }

    @discardableResult mutating func start(_ configured: [ClientSettings]) -> RosterPlan {
        let plan = Roster.plan(configured, saved: Array(saved.values), circumstances())
        roster = Roster()
        carryOut(plan)
        return plan
    }

    @discardableResult mutating func reload(_ configured: [ClientSettings]) -> RosterPlan {
        let plan = roster.plan(configured, circumstances())
        if plan.misfits.isEmpty { carryOut(plan) }
        return plan
    }

    private mutating func save(_ name: String, isRemoved: Bool = false) -> ClientRecord? {
        var record = roster[name]?.record(circumstances())
        record?.isRemoved = isRemoved
        saved[name] = record
        return record
    }

    mutating func disable(_ name: String) {
        roster[name]?.client.disable()
        _ = save(name)
    }

    mutating func enable(_ name: String) {
        roster[name]?.client.enable(firstCheckDelay: .zero, at: circumstances().now)
        _ = save(name)
    }

    mutating func remove(_ name: String) {
        guard let entry = roster[name] else { return }
        disable(name)
        var record = save(name, isRemoved: true)
        if entry.section != nil { (record, saved[name]) = (nil, nil) }
        roster.remove(name, keeping: record)
    }

    mutating func add(_ name: String, key: Int) throws {
        let keyID = String(repeating: "0", count: 63) + String(key)
        let section = "[\(name)]\nkey_id = \(keyID)\nsecret = c2VjcmV0\n"
        let settings = try AddedClient.read(section, defaults: [])
        let addition = roster.adding(settings, section: section, at: circumstances().now)
        for name in addition.formerNames { saved[name] = nil }
        roster.add(addition)
        _ = save(name)
    }

    func isEnabled(_ name: String) -> Bool? { roster[name]?.client.isEnabled(at: circumstances().now.boot) }
}

@Suite struct `A roster's plan` {
    @Test func `serves what is configured, and forgets what is not`() throws {
        var world = World()
        world.start([try settings("a"), try settings("b", key: 2)])
        let plan = world.start([try settings("b", key: 2), try settings("c", key: 3)])
        #expect(plan.forgotten == ["a"])
        #expect(world.roster.names == ["b", "c"])
        #expect(Set(world.saved.keys) == ["b", "c"])
    }

    @Test func `changes at a reload only the clients whose sections changed`() throws {
        var world = World()
        world.start([try settings("a"), try settings("b", key: 2), try settings("c", key: 3)])
        let plan = world.reload([
            try settings("a"), try settings("b", key: 2, rest: "timeout = PT1H\n"), try settings("d", key: 4),
        ])
        #expect(plan.entries.map(\.name) == ["b", "d"])
        #expect(plan.leaving == ["c"])
        #expect(plan.records.map(\.name).sorted() == ["b", "d"])
        #expect(plan.forgotten == ["c"])
        #expect(world.roster["b"]?.client.settings.timeout == .minutes(60))
    }

    @Test(arguments: [true, false])
    func `keeps a client disabled that comes back, under its name or another`(isReload: Bool) throws {
        var world = World()
        world.start([try settings("a"), try settings("b", key: 2)])
        world.disable("a")
        world.reload([try settings("b", key: 2)])
        #expect(world.roster.absent.departed.keys.sorted() == ["a"])
        for name in ["a", "renamed"] {
            var copy = world
            let configured = [try settings(name), try settings("b", key: 2)]
            let plan = isReload ? copy.reload(configured) : copy.start(configured)
            #expect(copy.isEnabled(name) == false)
            #expect(copy.saved.keys.sorted() == [name, "b"].sorted())
            if isReload || name != "a" { #expect(plan.notices == [.stillDisabled(name: name)]) }
        }
    }

    @Test(arguments: [true, false])
    func `keeps a key disabled whose client gets another key at the same time`(isReload: Bool) throws {
        var world = World()
        world.start([try settings("a")])
        let host = try SettingChange.host("a.example").applied(to: try settings("a"))
        world.roster["a"]?.client.change(host, at: circumstances().now.boot)
        world.disable("a")
        let configured = [try settings("b", key: 1), try settings("a", key: 2)]
        if isReload { world.reload(configured) } else { world.start(configured) }
        #expect(world.isEnabled("a") == false)
        #expect(world.isEnabled("b") == false)
        #expect(world.roster["b"]?.client.settings.host == "", "the settings of the other client stay with it")
    }

    /// How a client whose section says `enabled = no` in the end loses its rights.
    enum Loss: CaseIterable {
        case toOperatorAndFile, toFile, toRemoval
    }

    /// The section comes back without that line, under its name or another, at once or after it was gone.
    @Test(arguments: Loss.allCases, [true, false])
    func `keeps a client disabled whatever the files said when it left`(loss: Loss, isReload: Bool) throws {
        for (name, isAway) in [("a", true), ("renamed", true), ("renamed", false)] {
            var world = World()
            let z = try settings("z", key: 9)
            let off = try settings("a", rest: "enabled = no\n")
            switch loss {
            case .toOperatorAndFile:
                world.start([try settings("a"), z])
                world.disable("a")
                world.reload([off, z])
            case .toFile: world.start([off, z])
            case .toRemoval:
                world.start([off, z])
                world.enable("a")
                world.remove("a")
            }
            // A removed client is forgotten once the files do not have it.
            if isAway && loss == .toRemoval { continue }
            if isAway {
                world.reload([z])
                #expect(world.roster.absent["a"] != nil)
            }
            let files = [try settings(name), z]
            let plan = isReload ? world.reload(files) : world.start(files)
            #expect(world.isEnabled(name) == false, "\(name)")
            if name != "a" { #expect(plan.notices == [.stillDisabled(name: name)]) }
            // Nor by another start.
            world.start(files)
            #expect(world.isEnabled(name) == false, "\(name)")
            world.enable(name)
            world.start(files)
            #expect(world.isEnabled(name) == true)
        }
    }

    @Test(arguments: [true, false])
    func `lets the files enable a client again that kept its name and its key, and no other`(isReload: Bool) throws {
        for key in [1, 2] {
            var world = World()
            world.start([try settings("a", key: 1, rest: "enabled = no\n")])
            let files = [try settings("a", key: key)]
            if isReload { world.reload(files) } else { world.start(files) }
            #expect(world.isEnabled("a") == (key == 1))
        }
    }

    @Test(arguments: ["", "enabled = no\n"])
    func `takes the state of a key over for an added client that comes back`(rest: String) throws {
        var world = World()
        world.start([])
        try world.add("added", key: 7)
        world.start([try settings("a", key: 7, rest: rest)])
        if rest.isEmpty { world.disable("a") }
        world.start([])
        #expect(world.isEnabled("added") == false)
    }

    @Test func `tells both names where a section takes the key of an added client`() throws {
        var world = World()
        world.start([])
        try world.add("added", key: 7)
        let plan = world.start([try settings("a", key: 7)])
        let misfit = try #require(plan.misfits.first)
        #expect(misfit.name == "added")
        #expect(misfit.problems.problems.description.contains("[a]"))
    }

    @Test func `lets a key go from one client to another`() throws {
        var world = World()
        world.start([try settings("a", key: 1), try settings("b", key: 2)])
        world.reload([try settings("a", key: 2), try settings("b", key: 1)])
        #expect(world.roster[try #require(settings("x", key: 1).keyID)]?.name == "b")
        #expect(world.roster[try #require(settings("x", key: 2).keyID)]?.name == "a")
    }

    @Test func `does not serve a removed client as long as the files have it`() throws {
        var world = World()
        world.start([try settings("a")])
        world.remove("a")
        for _ in 0..<2 {
            #expect(world.reload([try settings("a")]).notices == [.stillRemoved(name: "a")])
            #expect(world.start([try settings("a")]).notices == [.stillRemoved(name: "a")])
            #expect(world.roster["a"] == nil)
        }
        world.reload([])
        #expect(world.saved.isEmpty)
        world.reload([try settings("a")])
        #expect(world.isEnabled("a") == true)
    }

    @Test(arguments: [true, false])
    func `leaves out an added client whose key the files give to another, and keeps its record`(isDisabled: Bool) throws
    {
        var world = World()
        world.start([])
        try world.add("added", key: 7)
        if isDisabled { world.disable("added") }
        let configured = [try settings("a", key: 7)]
        #expect(world.reload(configured).misfits.map(\.name) == ["added"])
        #expect(world.start(configured).misfits.map(\.name) == ["added"])
        #expect(world.roster.names == ["a"])
        #expect(world.saved["added"]?.section != nil)
        #expect(world.isEnabled("a") == !isDisabled)
        world.start([])
        #expect(world.roster.names == ["added"])
    }
}

/// Random configurations, restarts, reloads and operators, and what must hold after each.
private struct RandomRosterHistory {
    private static let names = ["a", "b", "c", "d"]

    private var random: SeededGenerator
    private var world = World()
    /// By name: the key in the configuration files.
    private var files: [String: Int] = [:]
    /// The names whose sections say `enabled = no`.
    private var off: Set<String> = []
    private(set) var log: [String] = []

    init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    mutating func step() throws {
        let name = Self.names.randomElement(using: &random) ?? "a"
        switch Int.random(in: 0..<8, using: &random) {
        case 0: operate("disable", name) { $0.disable(name) }
        case 1: operate("enable", name) { $0.enable(name) }
        case 2 where Bool.random(using: &random): operate("remove", name) { $0.remove(name) }
        case 3:
            let key = Int.random(in: 1...9, using: &random)
            guard world.roster[name] == nil, files[name] == nil, !files.values.contains(key) else { return }
            let keyID = try #require(try settings("x", key: key).keyID)
            guard world.roster[keyID] == nil else { return }
            // Its record would be lost.
            if let absent = world.roster.absent[name], absent.keyID != keyID { return }
            log.append("add \(name) with key \(key)")
            let wasWithoutRights = world.roster.absent[keyID] != nil
            try world.add(name, key: key)
            try #require(world.isEnabled(name) != wasWithoutRights, "\(story)")
        case 4, 5: try read("restart") { world, files in world.start(files) }
        default: try read("reload") { world, files in world.reload(files) }
        }
        try check()
    }

    private mutating func operate(_ what: String, _ name: String, _ body: (inout World) -> Void) {
        guard world.roster[name] != nil else { return }
        log.append("\(what) \(name)")
        body(&world)
    }

    /// Restarts or reloads with a key that goes to another name, or comes, or goes.
    private mutating func read(_ what: String, _ body: (inout World, [ClientSettings]) -> RosterPlan) throws {
        let name = Self.names.randomElement(using: &random) ?? "a"
        if files[name] == nil || Bool.random(using: &random) {
            let key = Int.random(in: 1...9, using: &random)
            if let other = files.first(where: { $0.value == key })?.key { files[other] = nil }
            files[name] = key
        } else {
            files[name] = nil
        }
        let switched = Self.names.randomElement(using: &random) ?? "a"
        if off.remove(switched) == nil, Int.random(in: 0..<3, using: &random) == 0 { off.insert(switched) }
        log.append(
            "\(what) with "
                + files.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)\(off.contains($0.key) ? " off" : "")" }
                .joined(separator: ", "))
        let before = world
        let plan = body(
            &world,
            try files.sorted { $0.key < $1.key }.map {
                try settings($0.key, key: $0.value, rest: off.contains($0.key) ? "enabled = no\n" : "")
            })
        try #require(Set(plan.forgotten).isDisjoint(with: plan.records.map(\.name)), "\(story)")
        if plan.misfits.isEmpty || what == "restart" { try compare(with: before) }
    }

    /// What had no rights before has none now, neither its name nor its key under another name; nothing else lost any.
    private func compare(with before: World) throws {
        let absent = before.roster.absent
        let leftOut = absent.leftOut.values.filter { $0.until == nil }
        var keysWithoutRights = Set(
            (Array(absent.departed.values) + absent.removed.values + leftOut).compactMap(\.keyID))
        for entry in before.roster.entries.values where before.isEnabled(entry.name) == false {
            if let keyID = entry.configured.keyID { keysWithoutRights.insert(keyID) }
        }
        for name in world.roster.names {
            let wasEnabled = before.isEnabled(name)
            let isOff = world.roster[name]?.configured.enabled == false
            try #require(absent.removed[name] == nil || files[name] == nil, "\(name) was removed; \(story)")
            if let wasEnabled {
                let keyID = try #require(world.roster[name]?.configured.keyID)
                let old = try #require(before.roster[name]?.configured)
                let hasAdopted = old.keyID != keyID && keysWithoutRights.contains(keyID)
                let isEnabledByFile = !old.enabled && !isOff && old.keyID == keyID
                let isDisabledByFile = old.enabled && isOff
                try #require(
                    world.isEnabled(name) == ((wasEnabled || isEnabledByFile) && !hasAdopted && !isDisabledByFile),
                    "\(name); \(story)")
            } else if absent.departed[name] != nil {
                try #require(world.isEnabled(name) == false, "\(name); \(story)")
            } else if before.saved[name] == nil, let keyID = world.roster[name]?.configured.keyID {
                try #require(
                    world.isEnabled(name) == (!isOff && !keysWithoutRights.contains(keyID)), "\(name); \(story)")
            }
        }
    }

    private func check() throws {
        let names = world.roster.names
        for name in names {
            let entry = try #require(world.roster[name])
            let keyID = try #require(entry.configured.keyID)
            try #require(world.roster[keyID] === entry, "the key of \(name) leads elsewhere; \(story)")
            let isSavedEnabled = world.saved[name]?.until != nil
            try #require(isSavedEnabled == world.isEnabled(name), "the record of \(name) differs; \(story)")
        }
        let absent = world.roster.absent
        try #require(Set(names).isDisjoint(with: absent.removed.keys), "\(story)")
        try #require(Set(names).isDisjoint(with: absent.departed.keys), "\(story)")
        let known = Set(names).union(absent.removed.keys).union(absent.departed.keys)
        // An added client that does not fit beside the files has a record, and is not served.
        let misfits = world.saved.filter { $0.value.section != nil }.keys
        try #require(Set(world.saved.keys).subtracting(misfits) == known.subtracting(misfits), "\(story)")
    }

    private var story: String { "after: " + log.suffix(30).joined(separator: "\n") }
}

@Suite struct `A random history of a roster` {
    @Test(arguments: 0..<50) func `never gives a disabled key its rights back, and keeps no more than is known`(
        seed: Int
    ) throws {
        var history = RandomRosterHistory(seed: UInt64(seed))
        for _ in 0..<300 { try history.step() }
    }
}
