import MandosFormats
import POSIXKit

/// A message to the process that runs the checkers.
enum CheckerRequest: Equatable {
    /// In bytes; the kernel takes no longer argument of a program. Source: execve(2), MAX_ARG_STRLEN.
    static let longestCommand = 128 << 10
    static let longest = 1 + UInt64.bitWidth / 8 + longestCommand

    /// Starts a checker, whose output goes to the descriptor that comes with the message.
    case start(UInt64, command: [UInt8])
    /// Kills a checker, unless it has ended.
    case kill(UInt64)

    private enum Kind: UInt8 { case start, kill }

    /// The message in two parts.
    var parts: ([UInt8], [UInt8]) {
        switch self {
        case .start(let number, let command): ([Kind.start.rawValue] + encoded(number), command)
        case .kill(let number): ([Kind.kill.rawValue] + encoded(number), [])
        }
    }

    init?(_ message: [UInt8]) {
        guard let kind = message.first.flatMap(Kind.init), let number: UInt64 = decoded(message.dropFirst()) else {
            return nil
        }
        switch kind {
        case .start: self = .start(number, command: Array(message.dropFirst(1 + UInt64.bitWidth / 8)))
        case .kill: self = .kill(number)
        }
    }
}

/// An answer of the process that runs the checkers: how the checker with this number ended, or why it was not started.
struct CheckerAnswer: Equatable {
    static let size = UInt64.bitWidth / 8 + 1 + Int32.bitWidth / 8

    enum Result: Equatable {
        case ended(TerminationStatus)
        /// With an error number of errno(3).
        case notStarted(Int32)
    }

    let number: UInt64
    let result: Result

    private enum Kind: UInt8 { case exit, signal, notStarted }

    init(number: UInt64, _ result: Result) {
        self.number = number
        self.result = result
    }

    var message: [UInt8] {
        let (kind, value): (Kind, Int32) =
            switch result {
            case .ended(.exit(let status)): (.exit, status)
            case .ended(.signal(let signal)): (.signal, signal)
            case .notStarted(let code): (.notStarted, code)
            }
        return encoded(number) + [kind.rawValue] + encoded(value)
    }

    init?(_ message: [UInt8]) {
        let rest = message.dropFirst(UInt64.bitWidth / 8)
        guard let number: UInt64 = decoded(message[...]), let kind = rest.first.flatMap(Kind.init),
            let value: Int32 = decoded(rest.dropFirst())
        else { return nil }
        self.number = number
        result =
            switch kind {
            case .exit: .ended(.exit(status: value))
            case .signal: .ended(.signal(value))
            case .notStarted: .notStarted(value)
            }
    }
}

/// In little-endian order.
private func encoded<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
    (0..<Number.bitWidth / 8).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
}

private func decoded<Number: FixedWidthInteger>(_ bytes: ArraySlice<UInt8>) -> Number? {
    let bytes = bytes.prefix(Number.bitWidth / 8)
    guard bytes.count == Number.bitWidth / 8 else { return nil }
    return bytes.reversed().reduce(0) { $0 << 8 | Number(truncatingIfNeeded: $1) }
}
