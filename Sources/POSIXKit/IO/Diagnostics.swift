import CMandosSystem
import MandosFormats

/// Writes a line `PROGRAM: message` to standard error, in one write, so that lines of several programs stay whole.
///
/// Characters that a terminal would obey are written as their numbers: parts of messages come from the network.
/// If standard error would block, the line is lost. A message longer than one atomic write (PIPE_BUF) is cut off.
public func complain(_ program: StaticString, _ message: String) {
    var line = printable(Array((program.description + ": " + message).utf8), keepingLines: true)
    let end = Array("…\n".utf8)
    if line.count >= Int(PIPE_BUF) {
        line = line.prefix(Int(PIPE_BUF) - end.count) + end
    } else {
        line.append(UInt8(ascii: "\n"))
    }
    var set = PollSet()
    set.add(STDERR_FILENO, for: .writing)
    set.limit(to: .now())
    set.wait()
    guard set.isReady(STDERR_FILENO, for: .writing) else { return }
    // A failure cannot be reported anywhere.
    _ = unsafe line.withUnsafeBufferPointer { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
