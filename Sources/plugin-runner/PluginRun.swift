import CMandosSystem
import InitramfsKit
import MandosFormats
import POSIXKit

/// Runs all plugins until the first success, and ends them.
struct PluginRun {
    enum Outcome {
        /// `isStored` if it was not typed.
        case password(SecretBuffer, isStored: Bool)
        case stopped(signal: Int32)
        /// No plugin has succeeded; `hasAsked` if the prompt has run.
        case nothing(hasAsked: Bool)
    }

    private let plugins: [Plugin]
    /// Asks on the console while no plugin asks a person; the plugins go on meanwhile.
    private let prompt: Plugin
    private let voices: PluginVoices?

    // Time limits in milliseconds, after the first SIGTERM.
    private static let longestEnd: Int64 = 5000
    /// For plugins that put something back in order.
    private static let longestRestoration = SplashScreen.longestRestoration + 6000
    private static let longestKill: Int64 = 1000

    init(_ plugins: [Plugin], prompt: Plugin, voices: PluginVoices?) {
        self.plugins = plugins
        self.prompt = prompt
        self.voices = voices
    }

    private var all: [Plugin] { plugins + [prompt] }

    func firstSuccess(until stop: borrowing StopSignals) -> Outcome {
        var hasAsked = false
        while true {
            let now = BootTime.now()
            for plugin in plugins { plugin.advance(at: now) }
            let mayPrompt = !plugins.contains { $0.holdsPrompt(at: now) }
            // After a failure it is not started again beside a plugin that asks.
            let isPromptActive = mayPrompt || prompt.isRunning
            if isPromptActive { prompt.advance(at: now) }
            for plugin in plugins {
                if case .succeeded(let password) = plugin.state {
                    return .password(password, isStored: plugin.givesStoredPassword)
                }
            }
            if case .succeeded(let password) = prompt.state { return .password(password, isStored: false) }
            guard prompt.isRunning || plugins.contains(where: { $0.isLeft }) else {
                return .nothing(hasAsked: hasAsked)
            }
            if mayPrompt, !hasAsked {
                hasAsked = true
                prompt.start(at: now)
                // If the prompt cannot be started, this process asks instead, and gives up the other plugins.
                guard case .running = prompt.state else { return .nothing(hasAsked: false) }
                continue
            }
            var set = PollSet()
            stop.register(in: &set)
            for plugin in plugins { plugin.register(in: &set, at: now) }
            if isPromptActive { prompt.register(in: &set, at: now) }
            voices?.register(in: &set)
            set.wait()
            if let signal = stop.next() { return .stopped(signal: signal) }
            voices?.advance(set)
        }
    }

    /// Ends every plugin that still runs, and what plugins have left behind. We may lack the permission to signal a set-uid
    /// one.
    func endAll() {
        defer { Orphans.end(except: []) }
        let begin = BootTime.now()
        signal(SIGTERM, all)
        if !haveEnded(all, by: begin.after(milliseconds: Self.longestEnd)) {
            signal(SIGKILL, all.filter { !$0.restores })
            _ = haveEnded(all.filter { $0.restores }, by: begin.after(milliseconds: Self.longestRestoration))
            signal(SIGKILL, all)
            _ = haveEnded(all, by: .now().after(milliseconds: Self.longestKill))
        }
        voices?.finish()
    }

    private func signal(_ number: Int32, _ recipients: [Plugin]) {
        for plugin in recipients { plugin.signal(number) }
    }

    /// Waits, and reads meanwhile what all plugins write: they may have to write before they can end.
    private func haveEnded(_ awaited: [Plugin], by deadline: BootTime) -> Bool {
        while true {
            for plugin in all { plugin.collectStatus() }
            guard awaited.contains(where: { $0.isRunning }) else { return true }
            if BootTime.now() >= deadline { return false }
            var set = PollSet()
            for plugin in all { plugin.registerEnd(in: &set) }
            voices?.register(in: &set)
            set.limit(to: deadline)
            set.wait()
            voices?.advance(set)
        }
    }
}
