@unsafe @preconcurrency import Dispatch  // its sources may be used from any thread
import Glibc
import POSIXKit
import Synchronization

/// What a checker prints: the beginning is kept, and the rest is read too, so that the checker is never held up.
final class CheckerOutput: Sendable {
    /// In bytes.
    static let mostKept = 4096

    private let kept = Mutex<[UInt8]>([])
    private let source: any DispatchSourceRead
    private let writing: Mutex<FileDescriptor?>
    /// Where the checker prints to.
    let descriptor: Int32

    init() throws(SystemError) {
        let pipe = try Pipe()
        try pipe.reading.setNonBlocking()
        // The cancel handler closes it: until then the source may look at it.
        let reading = fcntl(pipe.reading.number, F_DUPFD_CLOEXEC, 0)
        guard reading >= 0 else { throw SystemError("making a pipe") }
        let copy = fcntl(pipe.writing.number, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0 else {
            let error = SystemError("making a pipe")
            close(reading)
            throw error
        }
        descriptor = copy
        writing = Mutex(FileDescriptor(owning: copy))
        source = DispatchSource.makeReadSource(fileDescriptor: reading)
        source.setEventHandler { [weak self] in self?.drain(reading) }
        source.setCancelHandler { close(reading) }
        source.activate()
    }

    /// The checker has its own; without ours the output ends with it.
    func closeDescriptor() { writing.withLock { $0 = nil } }

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
