import InitramfsKit
import MandosFormats
import POSIXKit

/// Runs the processes that talk to the network until one of them has the password, which it prints.
///
/// The worker has the keys, and asks servers; another process looks for servers. Either may crash because of what the network
/// sends, or may be killed for lack of memory; it is then started again. This process reads no key, and of the network's data
/// only the password.
struct Supervisor {
    let program: StaticString
    let settings: Settings
    let user: WorkerUser
    let directory: PrivateDirectory?
    /// The worker's work; gets the descriptors for the password and for announced servers.
    let work: (_ password: Int32, _ servers: Int32) -> Never

    /// How long to wait before a process is started again, in milliseconds.
    static let pauseAfterEnd: Int64 = 1000

    func run(until stop: borrowing StopSignals) -> ProgramEnding {
        // What the worker starts, such as gpg-agent, is ours to end when the worker is gone.
        Orphans.adopt()
        let others = OwnProcess.children
        defer { cleanUp(except: others) }
        var reported = ""
        while true {
            let problem: String
            do throws(SystemError) {
                switch try runWorker(until: stop) {
                case .password(let password): return PasswordOutput.write(password, program, until: stop)
                case .stopped(let signal): return .signal(signal)
                case .crashed(let status): problem = "has crashed with \(status)"
                case .ended(let ending): return ending
                }
            } catch {
                problem = "\(error)"
            }
            if !problem.utf8.elementsEqual(reported.utf8) { complain(program, problem + "; trying again") }
            reported = problem
            cleanUp(except: others)
            if let signal = pause(until: stop) { return .signal(signal) }
        }
    }

    private func pause(until stop: borrowing StopSignals) -> Int32? {
        var set = PollSet()
        stop.register(in: &set)
        set.limit(to: .now().after(milliseconds: Self.pauseAfterEnd))
        set.wait()
        return stop.next()
    }

    private enum Outcome {
        case password(SecretBuffer)
        case stopped(signal: Int32)
        case crashed(TerminationStatus)
        case ended(ProgramEnding)
    }

    private func runWorker(until stop: borrowing StopSignals) throws(SystemError) -> Outcome {
        var worker = try RunningWorker(self)
        let end = worker.run(until: stop)
        let status = worker.end()
        switch (end, status) {
        case (.password(let password), _): return .password(password)
        case (.signal(let signal), _): return .stopped(signal: signal)
        // Without having handed over a password.
        case (.end, .exit(status: 0)): return .crashed(status)
        case (.end, .exit(let number)): return .ended(.exit(ExitStatus(rawValue: number) ?? .software))
        case (.end, .signal(let number)):
            return StopSignals.numbers.contains(number) ? .ended(.signal(number)) : .crashed(status)
        }
    }

    /// Removes everything that the worker has left.
    private func cleanUp(except others: [Int32]) {
        Orphans.end(except: others)
        directory?.empty()
    }
}
