@unsafe @preconcurrency import Dispatch  // its sources may be used from any thread
import Glibc
import InitramfsKit
import Synchronization

/// What a checker prints: the beginning is kept, and the rest is read too, so that the checker is never held up.
final class CheckerOutput: Sendable {
    /// In bytes.
    static let mostKept = 4096

    private let kept = Mutex<[UInt8]>([])
    private let source: any DispatchSourceRead

    /// - Returns: also the descriptor for the checker, which the caller owns.
    static func collect() throws(SystemError) -> (output: CheckerOutput, descriptor: Int32) {
        var ends: [Int32] = [-1, -1]
        guard unsafe pipe(&ends) == 0 else { throw SystemError("making a pipe") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
        return (CheckerOutput(reading: ends[0]), ends[1])
    }

    private init(reading descriptor: Int32) {
        source = DispatchSource.makeReadSource(fileDescriptor: descriptor)
        source.setEventHandler { [weak self] in self?.drain(descriptor) }
        source.setCancelHandler { close(descriptor) }
        source.activate()
    }

    /// What there is. Programs that the checker has left behind may go on printing, and nobody reads it.
    func end() -> String {
        drain(Int32(source.handle))
        source.cancel()
        let bytes = kept.withLock { $0 }
        return String(decoding: bytes.prefix(bytes.count - (bytes.last == UInt8(ascii: "\n") ? 1 : 0)), as: UTF8.self)
    }

    private func drain(_ descriptor: Int32) {
        kept.withLock { kept in
            // Then the descriptor is closed, or about to be.
            if source.isCancelled { return }
            var buffer = [UInt8](repeating: 0, count: Self.mostKept)
            // A pipe holds some 16 of these; whoever prints more than we read here is read at the next event.
            for _ in 0..<32 {
                let count = unsafe read(descriptor, &buffer, buffer.count)
                guard count > 0 else {
                    if count == 0 { source.cancel() }
                    return
                }
                kept += buffer[..<count].prefix(Self.mostKept - kept.count)
            }
        }
    }
}
