import CMandosSystem

/// Says something on standard error as `PROGRAM: message`, in one write, so that lines of several programs stay whole.
public func complain(_ program: StaticString, _ message: String) {
    let line = Array((program.description + ": " + message + "\n").utf8)
    unsafe line.withUnsafeBufferPointer { bytes in
        // There is nowhere left to report a failure to.
        try? unsafe writeAll(UnsafeRawBufferPointer(bytes), to: STDERR_FILENO)
    }
}
