import MandosFormats
import POSIXKit

/// Runs all plugins until the first success, and ends them.
struct PluginRun {
    enum Outcome {
        case password(SecretBuffer)
        case stopped(signal: Int32)
        /// No plugin has succeeded; `hasAsked` if the prompt has run.
        case nothing(hasAsked: Bool)
    }

    /// The plugins, and the prompt.
    private let all: [Plugin]
    /// Asks on the console once the other plugins only wait for a restart, or for output after their success.
    private let prompt: Plugin
    private let voices: PluginVoices?

    private static let teardown = Teardown(termination: 5000, kill: 1000)

    init(_ plugins: [Plugin], prompt: Plugin, voices: PluginVoices?) {
        all = plugins + [prompt]
        self.prompt = prompt
        self.voices = voices
    }

    func firstSuccess(until stop: borrowing StopSignals) -> Outcome {
        var isToPrompt = true
        while true {
            let now = BootTime.now()
            // Whether any plugin may still succeed, and whether any is at work now.
            var (isAnyLeft, isAnyAtWork) = (false, false)
            for plugin in all {
                plugin.advance(at: now)
                switch plugin.state {
                case .succeeded(let password): return .password(password)
                case .running: (isAnyLeft, isAnyAtWork) = (true, true)
                case .lingering: (isAnyLeft, isAnyAtWork) = (true, isAnyAtWork || plugin.hasOutput)
                case .resting: isAnyLeft = true
                case .failed: break
                }
            }
            guard isAnyLeft else { return .nothing(hasAsked: !isToPrompt) }
            if !isAnyAtWork, isToPrompt {
                isToPrompt = false
                prompt.start()
                // If the prompt cannot be started, this process asks instead, and gives up the other plugins.
                guard case .running = prompt.state else { return .nothing(hasAsked: false) }
                continue
            }
            var set = PollSet()
            set.add(stop.descriptor.number)
            for plugin in all { plugin.register(in: &set) }
            voices?.register(in: &set)
            set.wait()
            if let signal = stop.next() { return .stopped(signal: signal) }
            voices?.advance(set)
        }
    }

    /// Ends every plugin that still runs. We may lack the permission to signal a set-uid one.
    func endAll() {
        Self.teardown.run { number in
            for plugin in all { plugin.signal(number) }
        } hasEnded: {
            haveAllEnded(by: $0)
        }
        voices?.finish()
    }

    private func haveAllEnded(by deadline: BootTime) -> Bool {
        while true {
            for plugin in all { plugin.collectStatus() }
            guard all.contains(where: { $0.isRunning }) else { return true }
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
