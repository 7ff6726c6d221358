import CMandosSystem

/// A thread that is never joined. Source: pthread_detach(3).
public enum DetachedThread {
    private final class Body {
        let run: () -> Void

        init(_ run: @escaping () -> Void) { self.run = run }
    }

    /// Runs `body` on a new thread: everything it shares with the caller must be thread-safe.
    public static func start(_ action: @autoclosure () -> String, _ body: @escaping () -> Void) throws(SystemError) {
        var thread = pthread_t()
        // Owned by the thread, which releases it.
        let argument = unsafe Unmanaged.passRetained(Body(body))
        let code = unsafe pthread_create(
            &thread, nil,
            { argument in
                if let argument = unsafe argument {
                    unsafe Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
                }
                return nil
            }, argument.toOpaque())
        guard code == 0 else {
            unsafe argument.release()
            throw SystemError(action(), code: code)
        }
        pthread_detach(thread)
    }
}
