import CMandosSystem

/// A buffer for secret bytes: kept out of swap where the kernel allows it, and zeroed before it is freed.
@safe public final class SecretBuffer {
    public let limit: Int
    public private(set) var count = 0
    private var memory: UnsafeMutableRawBufferPointer

    /// Creates an empty buffer for at most `limit` bytes.
    public init(limit: Int) {
        self.limit = limit
        unsafe memory = Self.allocate(1)
    }

    /// Creates a copy of `bytes`, without room for more.
    public init(_ bytes: [UInt8]) {
        limit = bytes.count
        count = bytes.count
        unsafe memory = Self.allocate(max(bytes.count, 1))
        unsafe memory.copyBytes(from: bytes)
    }

    deinit { unsafe Self.free(memory) }

    public var isFull: Bool { count >= limit }

    /// Appends bytes: `body` writes them to the memory it is given, and returns their number.
    public func append<Failure: Error>(
        _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Int
    ) throws(Failure) {
        if unsafe count == memory.count { grow() }
        count += try unsafe body(UnsafeMutableRawBufferPointer(rebasing: memory[count...]))
    }

    public func withBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try unsafe body(UnsafeRawBufferPointer(rebasing: memory[..<count]))
    }

    /// The maximum number of reads in one call, so that an endless writer cannot keep us here.
    private static let readsPerTurn = 64

    /// Reads the available bytes of a non-blocking descriptor. Drops those beyond `limit`: the writer is never blocked.
    ///
    /// - Returns: whether the end of file was reached, or reading failed.
    public func drain(_ descriptor: Int32?) -> Bool {
        guard let descriptor else { return false }
        for _ in 0..<Self.readsPerTurn {
            var count = 0
            if isFull {
                count = unsafe withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { room in
                    guard let start = room.baseAddress else { return 0 }
                    defer { unsafe cmandos_wipe(start, room.count) }
                    return unsafe read(descriptor, start, room.count)
                }
            } else {
                unsafe append { room in
                    count = unsafe read(descriptor, room.baseAddress, min(room.count, limit - self.count))
                    return max(count, 0)
                }
            }
            if count == 0 { return true }
            if count < 0 && cmandos_errno() != EINTR { return cmandos_errno() != EAGAIN }
        }
        return false
    }

    /// The last non-empty line.
    public var lastLine: String {
        unsafe withBytes { bytes in
            let text = unsafe String(decoding: bytes, as: UTF8.self)
            return text.utf8.split(separator: UInt8(ascii: "\n")).last.map { String(Substring($0)) } ?? ""
        }
    }

    private func grow() {
        let old = unsafe memory
        unsafe memory = Self.allocate(old.count * 2)
        unsafe memory.copyMemory(from: UnsafeRawBufferPointer(old))
        unsafe Self.free(old)
    }

    /// Allocates at least `least` bytes, in whole pages: munlock(2) unlocks a page with all secrets in it.
    private static func allocate(_ least: Int) -> UnsafeMutableRawBufferPointer {
        let page = Int(getpagesize())
        let size = (least + page - 1) / page * page
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: page)
        // Beyond RLIMIT_MEMLOCK, mlock(2) fails; the pages are then used unlocked.
        if let start = memory.baseAddress { _ = unsafe mlock(start, size) }
        return unsafe memory
    }

    private static func free(_ memory: UnsafeMutableRawBufferPointer) {
        if let start = memory.baseAddress {
            unsafe cmandos_wipe(start, memory.count)
            _ = unsafe munlock(start, memory.count)
        }
        unsafe memory.deallocate()
    }
}

/// Zeroes bytes that hold a secret.
public func wipe(_ bytes: inout [UInt8]) {
    unsafe bytes.withUnsafeMutableBytes { buffer in
        if let start = buffer.baseAddress { unsafe cmandos_wipe(start, buffer.count) }
    }
}

/// Returns free heap memory to the kernel: most of the heap, after a large file was read once.
public func returnFreeMemory() { malloc_trim(0) }
