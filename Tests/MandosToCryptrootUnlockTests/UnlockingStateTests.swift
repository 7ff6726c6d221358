import MandosFormats
import Testing

@testable import mandos_to_cryptroot_unlock

/// A state, its clock, and its actions as text.
private struct Scenario {
    var state = UnlockingState(at: BootTime(milliseconds: 0))
    var now = BootTime(milliseconds: 0)

    /// The next action.
    mutating func next() -> String { "\(state.next(at: now))" }

    /// All actions until it waits; then the clock is at the end of the wait, if that has one.
    mutating func untilWait() -> [String] {
        var actions: [String] = []
        while true {
            let action = state.next(at: now)
            if case .wait(let deadline) = action {
                now = deadline ?? now
                return actions
            }
            actions.append("\(action)")
        }
    }

    /// A state that has a password.
    static var withPassword: Scenario {
        var scenario = Scenario()
        _ = scenario.next()
        scenario.state.fetched(password: 0)
        return scenario
    }

    /// A state that has handed its password over to the prompt of `volume`.
    static func handingOver(_ volume: String) -> Scenario {
        var scenario = withPassword
        scenario.state.promptAppeared(volume: volume)
        _ = scenario.next()
        return scenario
    }

    mutating func handedOver(_ outcome: HandOver.Outcome) -> String? {
        state.handedOver(outcome, at: now).map { "\($0)" }
    }

    mutating func promptGone(isTaken: Bool) -> String? { state.promptGone(isTaken: isTaken).map { "\($0)" } }
}

private let trying = "trying again, or type the password on the console"

@Suite struct `Fetching the password` {
    @Test func `begins at once, once`() {
        var scenario = Scenario()
        #expect(scenario.untilWait() == ["fetchPassword"])
        #expect(scenario.untilWait() == [])
    }

    @Test func `is tried again after a pause that doubles, and reported once`() {
        var scenario = Scenario()
        var times: [Int64] = []
        var reports: [String] = []
        for _ in 0..<8 {
            #expect(scenario.next() == "fetchPassword")
            times.append(scenario.now.milliseconds)
            if case .report(let text)? = scenario.state.fetchFailed("no network", at: scenario.now) {
                reports.append(text)
            }
            #expect(scenario.untilWait() == [])
        }
        #expect(times == [0, 1000, 3000, 7000, 15_000, 31_000, 63_000, 123_000])
        #expect(reports == ["no network; " + trying])
    }

    @Test func `is given up in the end`() {
        var scenario = Scenario()
        var last: UnlockingState.Action?
        for _ in 0...100 {
            #expect(scenario.next() == "fetchPassword")
            last = scenario.state.fetchFailed("no network", at: scenario.now)
            if case .giveUp = last { break }
            #expect(scenario.untilWait() == [])
        }
        #expect(last.map { "\($0)" } == "giveUp(\"no network; giving up; type the password on the console\")")
    }
}

@Suite struct `Handing the password over` {
    @Test func `needs a password and a prompt`() {
        var scenario = Scenario()
        _ = scenario.next()
        scenario.state.promptAppeared(volume: "root")
        #expect(!scenario.state.needsPrompt)
        #expect(scenario.untilWait() == [])
        scenario.state.fetched(password: 0)
        #expect(scenario.untilWait() == ["handOver(password: 0, isDirect: true)"])
        #expect(scenario.untilWait() == [])
    }

    @Test func `happens once for a prompt`() {
        var scenario = Scenario.handingOver("root")
        #expect(scenario.handedOver(.opened) == nil)
        #expect(scenario.untilWait() == [])
        #expect(scenario.promptGone(isTaken: true) == nil)
        #expect(scenario.state.needsPrompt)
    }

    @Test func `goes on when a prompt has gone with the password, and the next one waits`() {
        var scenario = Scenario.handingOver("root")
        #expect(scenario.promptGone(isTaken: true) == nil)
        #expect(scenario.state.needsPrompt)
        scenario.state.promptAppeared(volume: "home")
        #expect(!scenario.state.needsPrompt)
        #expect(scenario.untilWait() == [])
        #expect(scenario.handedOver(.opened) == nil)
        #expect(scenario.untilWait() == ["handOver(password: 0, isDirect: true)"])
    }

    @Test func `is cancelled when another program has answered`() {
        var scenario = Scenario.handingOver("root")
        #expect(scenario.promptGone(isTaken: false) == "cancelHandOver")
        #expect(scenario.state.needsPrompt)
        scenario.state.promptAppeared(volume: "home")
        #expect(scenario.untilWait() == ["handOver(password: 0, isDirect: true)"])
    }

    @Test func `is tried again while the prompt is there, through cryptroot-unlock at last, and reported`() {
        var scenario = Scenario.handingOver("root")
        var reports: [String?] = []
        var ways: [[String]] = []
        for _ in 0..<6 {
            reports.append(scenario.handedOver(.notTaken(reason: "no prompt")))
            #expect(scenario.untilWait() == [])
            ways.append(scenario.untilWait())
        }
        #expect(reports == [nil, nil, nil, nil, "report(\"cryptroot-unlock: no prompt; \(trying)\")", nil])
        let direct = ["handOver(password: 0, isDirect: true)"]
        let indirect = ["handOver(password: 0, isDirect: false)"]
        #expect(ways == [direct, direct, indirect, indirect, indirect, indirect])
        // 100 + 200 + 400 + 800 + 1600 + 3200 ms.
        #expect(scenario.now.milliseconds == 6300)
    }

    @Test func `is given up for a prompt in the end, but not for the next one`() {
        var scenario = Scenario.handingOver("root")
        var last: String?
        for _ in 0..<361 {
            last = scenario.handedOver(.notTaken(reason: "no prompt"))
            if last?.contains("giving up on this prompt") == true { break }
            _ = scenario.untilWait()
            #expect(scenario.next().hasPrefix("handOver"))
        }
        #expect(last?.contains("giving up on this prompt") == true)
        #expect(scenario.untilWait() == [])
        _ = scenario.promptGone(isTaken: false)
        scenario.state.promptAppeared(volume: "root")
        #expect(scenario.untilWait() == ["handOver(password: 0, isDirect: true)"])
    }

    @Test func `is not done for a keyscript's prompt, but for the next one`() {
        var scenario = Scenario.withPassword
        scenario.state.promptAppeared(volume: "card", isOurs: false)
        #expect(scenario.untilWait() == [])
        _ = scenario.promptGone(isTaken: false)
        scenario.state.promptAppeared(volume: "root")
        #expect(scenario.untilWait() == ["handOver(password: 0, isDirect: true)"])
        // The next prompt may appear before cryptsetup has ended.
        _ = scenario.promptGone(isTaken: true)
        scenario.state.promptAppeared(volume: "card", isOurs: false)
        _ = scenario.handedOver(.opened)
        #expect(scenario.untilWait() == [])
    }

    @Test func `ends after many prompts`() {
        var scenario = Scenario.withPassword
        for answered in 1...UnlockingState.maximumAnswers {
            scenario.state.promptAppeared(volume: "v\(answered)")
            #expect(scenario.next() == "handOver(password: 0, isDirect: true)")
            let action = scenario.handedOver(.opened)
            #expect((action != nil) == (answered == UnlockingState.maximumAnswers))
            _ = scenario.promptGone(isTaken: true)
        }
    }

    @Test func `finishes when nothing was left to be opened`() {
        var scenario = Scenario.handingOver("root")
        #expect(scenario.handedOver(.nothingLeft) == "finish")
    }
}

@Suite struct `A refused password` {
    /// A volume that has got the password and asks again.
    private static var refused: Scenario {
        var scenario = Scenario.handingOver("root")
        _ = scenario.handedOver(.notOpened)
        _ = scenario.promptGone(isTaken: true)
        scenario.state.promptAppeared(volume: "root")
        return scenario
    }

    @Test func `is not given to the same volume again, but fetched anew`() {
        var scenario = Self.refused
        #expect(scenario.untilWait() == ["report(\"root has refused the password; \(trying)\")"])
        #expect(scenario.untilWait() == ["fetchPassword"])
        scenario.state.fetched(password: 0)
        #expect(scenario.untilWait() == [])
        #expect(scenario.untilWait() == ["fetchPassword"])
        scenario.state.fetched(password: 1)
        #expect(scenario.untilWait() == ["handOver(password: 1, isDirect: true)"])
    }

    @Test func `is not given again either after another one that was refused, however often they take turns`() {
        var scenario = Self.refused
        var given: [Int] = []
        for turn in 1...20 {
            scenario.state.fetched(password: turn % 2)
            for action in scenario.untilWait() where action.hasPrefix("handOver") {
                given.append(turn % 2)
                _ = scenario.handedOver(.notOpened)
                _ = scenario.promptGone(isTaken: true)
                scenario.state.promptAppeared(volume: "root")
            }
        }
        #expect(given == [1])
    }

    @Test func `leaves the last try to people, with any password`() {
        var scenario = Self.refused
        _ = scenario.untilWait()
        scenario.state.fetched(password: 1)
        _ = scenario.promptGone(isTaken: false)
        scenario.state.promptAppeared(volume: "root", isLastTry: true)
        #expect(
            scenario.untilWait() == ["report(\"root: the last try is for people; type the password on the console\")"])
        _ = scenario.promptGone(isTaken: false)
        scenario.state.promptAppeared(volume: "home")
        #expect(scenario.untilWait() == ["handOver(password: 1, isDirect: true)"])
    }

    @Test func `is remembered as the one that was on its way, when another one comes meanwhile`() {
        var scenario = Scenario.handingOver("root")
        scenario.state.fetched(password: 1)
        _ = scenario.handedOver(.notOpened)
        _ = scenario.promptGone(isTaken: true)
        scenario.state.promptAppeared(volume: "root")
        #expect(scenario.untilWait() == ["handOver(password: 1, isDirect: true)"])
    }

    @Test func `is still given to other volumes`() {
        var scenario = Self.refused
        _ = scenario.untilWait()
        _ = scenario.promptGone(isTaken: false)
        scenario.state.promptAppeared(volume: "home")
        #expect(scenario.untilWait().contains("handOver(password: 0, isDirect: true)"))
    }

    @Test(arguments: ["opened", "notOpened"])
    func `is known also when other volumes have asked meanwhile, or a device was there for a moment`(first: String) {
        var scenario = Scenario.handingOver("root")
        _ = scenario.handedOver(first == "opened" ? .opened : .notOpened)
        _ = scenario.promptGone(isTaken: true)
        scenario.state.promptAppeared(volume: "home")
        #expect(scenario.untilWait() == ["handOver(password: 0, isDirect: true)"])
        _ = scenario.handedOver(.opened)
        _ = scenario.promptGone(isTaken: true)
        scenario.state.promptAppeared(volume: "root")
        #expect(scenario.untilWait() == ["report(\"root has refused the password; \(trying)\")"])
    }
}

@Suite struct `Waiting for prompts` {
    @Test func `ends with a report if there never was one`() {
        var scenario = Scenario.withPassword
        #expect(scenario.untilWait() == [])
        #expect(scenario.now.milliseconds == UnlockingState.longestWaitForPrompt)
        #expect(scenario.next().hasPrefix("giveUp(\"nobody has asked for the password"))
    }

    @Test func `ends sooner, and well, once a volume is open`() {
        var scenario = Scenario.handingOver("root")
        _ = scenario.promptGone(isTaken: true)
        _ = scenario.handedOver(.opened)
        #expect(scenario.untilWait() == [])
        #expect(scenario.now.milliseconds == UnlockingState.longestWaitForNextPrompt)
        #expect(scenario.next() == "finish")
    }

    @Test func `does not end while a prompt is there`() {
        var scenario = Scenario.handingOver("root")
        _ = scenario.handedOver(.opened)
        scenario.now = scenario.now.after(milliseconds: UnlockingState.longestWaitForPrompt * 2)
        #expect(scenario.untilWait() == [])
    }
}
