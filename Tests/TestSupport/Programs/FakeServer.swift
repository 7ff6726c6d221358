import Foundation
import Glibc
import MandosFormats
public import MandosTLS
import Testing

/// A server that misbehaves, on loopback.
public final class FakeServer: Sendable {
    private let listener: Int32
    public let port: Int

    public var address: String { "127.0.0.1:\(port)" }

    /// `behave` is called on a thread of its own with each connection, which is closed after it.
    public init(_ behave: @escaping @Sendable (Int32) -> Void) throws {
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = Self.loopback(port: 0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let result = unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(listener, $0, length) == 0 && listen(listener, 16) == 0
                    && getsockname(listener, $0, &length) == 0
            }
        }
        try #require(result)
        port = Int(UInt16(bigEndian: address.sin_port))
        Thread.detachNewThread {
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0 else { return }
                // A program that another test starts must not keep the connection open.
                _ = fcntl(connection, F_SETFD, FD_CLOEXEC)
                Thread.detachNewThread {
                    behave(connection)
                    close(connection)
                }
            }
        }
    }

    deinit {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    private static func loopback(port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        address.sin_port = port.bigEndian
        return address
    }

    /// Connects to any server on loopback; the caller closes the connection.
    public static func connect(to port: Int) throws -> Int32 {
        let connection = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        let result = unsafe withUnsafePointer(to: loopback(port: UInt16(port))) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe Glibc.connect(connection, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(result == 0)
        return connection
    }

    public static func send(_ bytes: [UInt8], to connection: Int32) -> Bool {
        unsafe Glibc.send(connection, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
    }

    /// Waits until the client leaves.
    public static func waitForEnd(of connection: Int32) {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while unsafe recv(connection, &buffer, buffer.count, 0) > 0 {}
    }

    /// A server that completes the handshake, and then calls `speak`, and sends what it has written to the session, until
    /// `speak` returns false.
    public static func afterHandshake(
        _ speak: @escaping @Sendable (TLSSession) throws -> Bool
    ) throws -> FakeServer {
        try FakeServer { connection in
            do {
                let session = try TLSSession(role: .mandosServer, priority: Priority(), credentials: Credentials())
                var buffer = [UInt8](repeating: 0, count: 4096)
                var greeting: [UInt8] = []
                while greeting.last != 10 {
                    guard unsafe recv(connection, &buffer, 1, 0) == 1 else { return }
                    greeting.append(buffer[0])
                }
                while try !session.handshake() {
                    guard send(session.takeOutput(), to: connection) else { return }
                    let count = unsafe recv(connection, &buffer, buffer.count, 0)
                    guard count > 0 else { return }
                    session.receive(buffer.span.extracting(..<count))
                }
                while try speak(session), send(session.takeOutput(), to: connection) {}
                _ = send(session.takeOutput(), to: connection)
            } catch {
                // The client gave up, as it may.
            }
        }
    }
}
