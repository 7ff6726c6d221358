public import MandosFormats
public import ServiceLifecycle

/// Tells the service manager that we are alive, as long as what is due gets done; if it is not told, it restarts us.
///
/// Source: sd_watchdog_enabled(3).
public struct Watchdog: Service {
    private let interval: TimeSpan
    private let registry: Registry

    /// `interval` is how often it has to be told at the least.
    public init(every interval: TimeSpan, _ registry: Registry) {
        self.interval = interval
        self.registry = registry
    }

    public func run() async throws {
        // However short it is meant to be: telling must not become all that we do.
        let pause = Duration.milliseconds(max(10, interval.milliseconds / 2))
        let limit = max(interval, .seconds(1))
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                // A registry that hangs does not answer at all.
                if await registry.lateness < limit { ServiceManager.tell(.alive) }
                try? await Task.sleep(for: pause)
            }
        }
    }
}
