import MandosFormats
import POSIXKit

/// All plugins, until the first success, and their end.
struct PluginRun {
    enum Outcome {
        case password(SecretBuffer)
        case stopped(signal: Int32)
        /// Every plugin has failed.
        case nothing(hasAsked: Bool)
    }

    /// The plugins, and the prompt.
    private let all: [Plugin]
    /// Asks on the console while other plugins wait for something.
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
            // Whether some may still succeed, and whether some are at it.
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
                // Then we ask ourselves, and give up the others.
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

    /// Ends every plugin that is left. A set-uid one may be beyond our reach.
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
