import CMandosSystem
import MandosFormats
import POSIXKit

/// Doing something in a process that may crash, as often as that takes.
enum CrashRestart {
    /// How long there is rest after a crash, in milliseconds.
    private static let rest: Int64 = 1000

    /// Runs `work` in a process made for it, and again in a new one when it crashes; what `stop` gets, it gets too. Whatever it
    /// crashed of is told to `report`. It does not outlive this process. For a process that still has one thread.
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

    /// - Returns: the signal that ends the pause.
    private static func pause(_ stop: borrowing StopSignals) -> Int32? {
        var set = PollSet()
        set.add(stop.descriptor.number)
        set.limit(to: .now().after(milliseconds: rest))
        set.wait()
        return stop.next()
    }
}
