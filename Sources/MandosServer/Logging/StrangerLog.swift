import Logging
import MandosCore
import MandosFormats
import ServiceLifecycle
import Synchronization

/// Limits the log lines that anybody on the network can cause, so that they neither fill the log nor hide the others.
final class StrangerLog: Sendable {
    /// What a line is about; each has limits of its own.
    enum Subject: CaseIterable {
        case unknownKey
        case failedHandshake
        case tooManyConnections

        fileprivate var level: Logger.Level {
            switch self {
            case .unknownKey: .warning
            case .failedHandshake, .tooManyConnections: .debug
            }
        }

        fileprivate var subsystem: LogLevels.Subsystem {
            switch self {
            case .unknownKey: .request
            case .failedHandshake, .tooManyConnections: .tls
            }
        }

        /// Reports lines that were left out.
        fileprivate var report: Logger.Message {
            switch self {
            case .unknownKey: "secret refused, and to more unknown keys in the last minute"
            case .failedHandshake: "connection ended, and more before the handshake in the last minute"
            case .tooManyConnections: "too many connections without a handshake, and more closed in the last minute"
            }
        }
    }

    private let log: Log
    private let allowances = Mutex<[Subject: LogAllowance]>([:])
    /// Signalled when a report becomes due that was not.
    private let wakeUp = WakeUp()

    init(_ log: Log) { self.log = log }

    /// Logs a line unless that would be too many; `source` is that of ``PeerAddress/source(of:)``.
    ///
    /// The logger may have more facts, for all lines.
    func log(
        _ subject: Subject, from source: String, _ message: Logger.Message, to logger: Logger? = nil,
        metadata: @autoclosure () -> Logger.Metadata
    ) {
        let logger = logger ?? log[subject.subsystem]
        guard logger.logLevel <= subject.level else { return }
        let (isAdmitted, leftOut) = allowances.withLock { allowances in
            let isAdmitted = allowances[subject, default: LogAllowance()].admit(
                from: source, at: SystemClock.now().boot)
            return (isAdmitted, allowances[subject]?.leftOut ?? 0)
        }
        if isAdmitted {
            logger.log(level: subject.level, message, metadata: metadata())
        } else if leftOut == 1 {
            wakeUp.signal()
        }
    }

    /// Reports the numbers of lines that were left out, at the end of each period and at a graceful shutdown.
    func run() async {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                await self.wakeUp.wait(for: self.timeUntilReport)
                let now = SystemClock.now().boot
                self.report { $0.reportDue.map { $0 <= now } ?? false }
            }
        }
        report { _ in true }
    }

    private var timeUntilReport: TimeSpan {
        let due = allowances.withLock { $0.values.compactMap(\.reportDue).min() }
        return due.map { max(.zero, $0 - SystemClock.now().boot) } ?? .minutes(60)
    }

    private func report(where isDue: (LogAllowance) -> Bool) {
        for subject in Subject.allCases {
            let count = allowances.withLock { allowances in
                guard let allowance = allowances[subject], isDue(allowance) else { return 0 }
                return allowances[subject]?.takeLeftOut() ?? 0
            }
            if count > 0 {
                log[subject.subsystem].log(level: subject.level, subject.report, metadata: ["count": "\(count)"])
            }
        }
    }
}
