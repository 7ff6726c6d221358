public import MandosFormats
public import ServiceLifecycle

/// Notifies the service manager that the server is alive, as long as the registry keeps its deadlines; without notifications,
/// the service manager restarts the server.
///
/// Source: sd_watchdog_enabled(3).
public struct Watchdog: Service {
    private let interval: TimeSpan
    private let registry: Registry

    /// `interval` is the longest time allowed between two notifications.
    public init(every interval: TimeSpan, _ registry: Registry) {
        self.interval = interval
        self.registry = registry
    }

    public func run() async {
        // A very short interval must not keep the server busy.
        let pause = Duration.milliseconds(max(10, interval.milliseconds / 2))
        let limit = max(interval, .seconds(1))
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                // A registry that hangs does not answer at all.
                if await registry.lateness < limit { ServiceManager.notify(.alive) }
                try? await Task.sleep(for: pause)
            }
        }
    }
}
