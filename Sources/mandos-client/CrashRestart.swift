import CMandosSystem
import MandosFormats
import POSIXKit

/// Runs work in a child process, and again in a new one whenever it crashes.
enum CrashRestart {
    /// In milliseconds.
    private static let pauseAfterCrash: Int64 = 1000

    /// Runs `work` in a child process, and in a new one after a crash, which is passed to `report`. Signals that `stop`
    /// receives are forwarded to the child. It does not outlive this process, which must have one thread.
    static func run(
        until stop: borrowing StopSignals, report: (String) -> Void, _ work: () -> Never
    ) throws(SystemError) -> TerminationStatus {
        while true {
            let process = try ChildProcess.fork("a process", boundBy: SIGKILL, work)
            var asked: Int32?
            while true {
                switch process.status() {
                case .exit(let status): return .exit(status: status)
                case .signal(let number):
                    if asked != nil || !isCrash(number) { return .signal(asked ?? number) }
                    report("has crashed with signal \(number); trying again")
                    if let signal = pause(stop) { return .signal(signal) }
                case nil:
                    var set = PollSet()
                    set.add(process.descriptor)
                    set.add(stop.descriptor.number)
                    set.wait()
                    if let signal = stop.next() {
                        asked = signal
                        process.signal(signal)
                    }
                    continue
                }
                break
            }
        }
    }

    private static func isCrash(_ signal: Int32) -> Bool {
        [SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE].contains(signal)
    }

    /// - Returns: the signal that ended the pause, if one did.
    private static func pause(_ stop: borrowing StopSignals) -> Int32? {
        var set = PollSet()
        set.add(stop.descriptor.number)
        set.limit(to: .now().after(milliseconds: pauseAfterCrash))
        set.wait()
        return stop.next()
    }
}
