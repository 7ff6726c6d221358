@unsafe @preconcurrency import Dispatch  // its sources may be used from any thread
import Glibc
import POSIXKit
import Synchronization

/// Reads the output of a checker: keeps the beginning, and drops the rest, so that the checker never blocks.
final class CheckerOutput: Sendable {
    /// In bytes.
    static let keptSize = 4096

    private let kept = Mutex<[UInt8]>([])
    private let source: any DispatchSourceRead
    private let writing: Mutex<FileDescriptor?>
    /// The checker's standard output and error.
    let descriptor: Int32

    init() throws(SystemError) {
        let pipe = try Pipe.make(nonBlocking: .reading)
        // A duplicate that the source may use until its cancel handler closes it.
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

    /// Closes our copy of the writing end, so that end of file comes when the checker's copy is closed.
    func closeDescriptor() { writing.withLock { $0 = nil } }

    /// Stops reading, and returns the kept output. Later output of processes that the checker left behind is ignored.
    func end() -> String {
        drain(Int32(source.handle))
        source.cancel()
        let bytes = kept.withLock { $0 }
        return String(decoding: bytes.prefix(bytes.count - (bytes.last == UInt8(ascii: "\n") ? 1 : 0)), as: UTF8.self)
    }

    private func drain(_ descriptor: Int32) {
        kept.withLock { kept in
            // The descriptor is closed, or about to be.
            if source.isCancelled { return }
            var buffer = [UInt8](repeating: 0, count: Self.keptSize)
            // A pipe holds about 16 buffers; further output is read at the next event.
            for _ in 0..<32 {
                let count = unsafe read(descriptor, &buffer, buffer.count)
                guard count > 0 else {
                    if count == 0 { source.cancel() }
                    return
                }
                kept += buffer[..<count].prefix(Self.keptSize - kept.count)
            }
        }
    }
}
