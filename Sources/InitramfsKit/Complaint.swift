import CMandosSystem

/// Says something on standard error as `PROGRAM: message`, in one write, so that lines of several programs stay whole.
///
/// A console that takes nothing at the moment never holds a program up: then the line is lost.
public func complain(_ program: StaticString, _ message: String) {
    let line = Array((program.description + ": " + message + "\n").utf8)
    var set = PollSet()
    set.add(STDERR_FILENO, for: .writing)
    set.limit(to: .now())
    set.wait()
    guard set.isReady(STDERR_FILENO) else { return }
    // There is nowhere left to report a failure to.
    _ = unsafe line.withUnsafeBufferPointer {
        unsafe write(STDERR_FILENO, $0.baseAddress, min($0.count, Int(PIPE_BUF)))
    }
}
