import CMandosSystem

/// Watches the files of a directory. Source: inotify(7).
public struct DirectoryWatch: ~Copyable {
    public enum Change: Equatable {
        /// The file of this name was written and closed, or moved here.
        case written(String)
        /// The file of this name was removed, or moved away.
        case gone(String)
        /// The file of this name was opened.
        case opened(String)
        /// The kernel's queue overflowed; look at all files again.
        case missed
        /// The directory was removed; there are no more changes.
        case ended
    }

    /// The changes to watch for.
    public enum Interest {
        case filesThatComeAndGo
        case openings
    }

    private let queue: FileDescriptor

    /// Becomes readable when there are changes.
    public var descriptor: Int32 { queue.number }

    /// The size of the buffer for one read, in bytes; more events are left for the next read.
    private static let bytesAtOnce = 16384

    /// Starts to watch a directory; ``changes()`` returns the changes from now on.
    ///
    /// - Throws: if the directory does not exist or cannot be watched.
    public static func begin(
        _ directory: String, for interest: Interest = .filesThatComeAndGo
    ) throws(SystemError) -> DirectoryWatch {
        let flags = Int32(IN_CLOEXEC) | Int32(IN_NONBLOCK)
        let queue = FileDescriptor(owning: try SystemError.check("watching " + directory, inotify_init1(flags)))
        let events =
            switch interest {
            case .filesThatComeAndGo: IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE
            case .openings: IN_OPEN
            }
        let watch = unsafe inotify_add_watch(queue.number, directory, UInt32(events) | UInt32(IN_ONLYDIR))
        try SystemError.check("watching the directory " + directory, watch)
        return DirectoryWatch(queue: queue)
    }

    /// The changes since the last call, in order; never waits.
    public func changes() -> [Change] {
        var changes: [Change] = []
        var buffer = [UInt8](repeating: 0, count: Self.bytesAtOnce)
        while true {
            guard case .bytes(let count)? = try? queue.read(into: &buffer) else { return changes }
            Self.parse(buffer[..<count], into: &changes)
        }
    }

    private static func parse(_ bytes: ArraySlice<UInt8>, into changes: inout [Change]) {
        var rest = bytes
        let headerSize = MemoryLayout<inotify_event>.size
        while rest.count >= headerSize {
            var event = inotify_event()
            unsafe withUnsafeMutableBytes(of: &event) { unsafe $0.copyBytes(from: rest.prefix(headerSize)) }
            let field = rest.dropFirst(headerSize).prefix(Int(event.len))
            let name = String(decoding: field.prefix { $0 != 0 }, as: UTF8.self)
            rest = rest.dropFirst(headerSize + Int(event.len))
            if event.mask & UInt32(IN_Q_OVERFLOW) != 0 {
                changes.append(.missed)
            } else if event.mask & UInt32(IN_IGNORED) != 0 {
                changes.append(.ended)
            } else if event.mask & (UInt32(IN_CLOSE_WRITE) | UInt32(IN_MOVED_TO)) != 0 {
                changes.append(.written(name))
            } else if event.mask & UInt32(IN_OPEN) != 0 {
                changes.append(.opened(name))
            } else if event.mask & (UInt32(IN_MOVED_FROM) | UInt32(IN_DELETE)) != 0 {
                changes.append(.gone(name))
            }
        }
    }
}
