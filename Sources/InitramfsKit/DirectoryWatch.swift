import CMandosSystem

/// Tells when a file in a directory is opened, also one that is made later. Source: inotify(7).
public struct DirectoryWatch: ~Copyable {
    private let events: FileDescriptor

    // Of `struct inotify_event`; the name, filled up with zeroes, follows it.
    private static let lengthOffset = 12
    private static let headerSize = 16
    /// Room for several events; the kernel gives whole ones only.
    private static let bufferSize = 4096

    /// Readable when there is something to be told.
    public var descriptor: Int32 { events.number }

    public init(of directory: String) throws(SystemError) {
        events = FileDescriptor(
            owning: try SystemError.check("watching " + directory, unsafe cmandos_watch_opens(directory)))
    }

    /// Whether the file `name` was opened since this was asked last, or may have been, if too much happened to be told.
    public func sawOpening(of name: String) -> Bool {
        let name = Array(name.utf8)
        var buffer = [UInt8](repeating: 0, count: Self.bufferSize)
        var saw = false
        while true {
            let transfer = unsafe buffer.withUnsafeMutableBytes { try? unsafe events.read(into: $0) }
            guard let transfer, case .bytes(let count) = transfer else { return saw }
            var start = 0
            while start + Self.headerSize <= count {
                let length = unsafe buffer.withUnsafeBytes {
                    unsafe $0.loadUnaligned(fromByteOffset: start + Self.lengthOffset, as: UInt32.self)
                }
                let first = start + Self.headerSize
                start = first + Int(length)
                // One without a name says that the queue has overflown, or that the directory itself was opened.
                let opened = buffer[first..<min(start, count)].prefix { $0 != 0 }
                saw = saw || opened.isEmpty || opened.elementsEqual(name)
            }
        }
    }
}
