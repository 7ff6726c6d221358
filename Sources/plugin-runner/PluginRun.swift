import InitramfsKit

/// All plugins, until the first success, and their end.
struct PluginRun {
    enum Outcome {
        case password(SecretBuffer)
        case stopped(signal: Int32)
        /// Every plugin has failed.
        case nothing
    }

    private let plugins: [Plugin]

    /// How long plugins may take to end when they are asked to, and then when they are not asked any more, in milliseconds.
    private static let patience: Int64 = 5000
    private static let lastPatience: Int64 = 1000

    init(_ plugins: [Plugin]) { self.plugins = plugins }

    func firstSuccess(until stop: borrowing StopSignals) -> Outcome {
        while true {
            let now = Deadline.now()
            var isAnyLeft = false
            for plugin in plugins {
                plugin.advance(at: now)
                switch plugin.state {
                case .succeeded(let password): return .password(password)
                case .running, .resting: isAnyLeft = true
                case .failed: break
                }
            }
            guard isAnyLeft else { return .nothing }
            var set = PollSet()
            set.add(stop.descriptor.number)
            for plugin in plugins { plugin.register(in: &set) }
            set.wait()
            if let signal = stop.next() { return .stopped(signal: signal) }
        }
    }

    /// Ends every plugin that is left: asks, and then does not ask any more. A set-uid one may be beyond our reach.
    func endAll() {
        for plugin in plugins { plugin.terminate() }
        waitForAll(Self.patience)
        for plugin in plugins { plugin.end() }
        waitForAll(Self.lastPatience)
    }

    private func waitForAll(_ patience: Int64) {
        let deadline = Deadline.now().after(milliseconds: patience)
        while true {
            for plugin in plugins { plugin.reap() }
            guard plugins.contains(where: { $0.isRunning }), Deadline.now() < deadline else { return }
            var set = PollSet()
            for plugin in plugins { plugin.registerEnd(in: &set) }
            set.limit(to: deadline)
            set.wait()
        }
    }
}
