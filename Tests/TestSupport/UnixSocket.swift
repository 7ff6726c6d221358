public import Foundation
import Glibc
import Testing

/// A datagram socket at a path, whose reads do not block.
public final class UnixSocket {
    public let path: String
    private let descriptor: Int32

    public init(at path: String) throws {
        self.path = path
        let kind = SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
        descriptor = socket(AF_UNIX, Int32(kind), 0)
        try #require(descriptor >= 0)
        try #require(try unsafe withAddress { unsafe bind(descriptor, $0, $1) } == 0)
    }

    deinit { close(descriptor) }

    private func withAddress<Result>(
        _ body: (UnsafePointer<sockaddr>, socklen_t) throws -> Result
    ) throws -> Result {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        try #require(bytes.count < MemoryLayout.size(ofValue: address.sun_path))
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
        return try unsafe withUnsafePointer(to: address) { pointer in
            try unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                try unsafe body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }

    /// Takes the next message, if one has come.
    public func receive() -> Data? {
        var bytes = [UInt8](repeating: 0, count: 1 << 18)
        let count = unsafe recv(descriptor, &bytes, bytes.count, 0)
        return count < 0 ? nil : Data(bytes[..<count])
    }

    /// Sends "x" to itself until its queue is full; returns how many messages there are now.
    public func fillQueue() throws -> Int {
        try unsafe withAddress { address, length in
            var count = 0
            while unsafe sendto(descriptor, "x", 1, Int32(MSG_DONTWAIT), address, length) == 1 { count += 1 }
            return count
        }
    }
}
