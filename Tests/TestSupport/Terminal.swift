import Glibc
import Testing

/// A pseudo-terminal whose user is the test.
public final class Terminal {
    private let controller: Int32
    public let path: String

    public init() throws {
        // As posix_openpt(3), unlockpt(3) and ptsname(3) do it, which the headers hide.
        let unlock: UInt = 0x4004_5431  // TIOCSPTLCK
        let getNumber: UInt = 0x8004_5430  // TIOCGPTN
        var no: Int32 = 0
        var number: Int32 = 0
        controller = unsafe open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
        try #require(controller >= 0)
        try #require(unsafe ioctl(controller, unlock, &no) == 0 && ioctl(controller, getNumber, &number) == 0)
        path = "/dev/pts/\(number)"
        _ = fcntl(controller, F_SETFL, O_NONBLOCK)
    }

    deinit { close(controller) }

    /// Types `text` at the keyboard.
    public func type(_ text: String) throws {
        let bytes = Array(text.utf8)
        try #require(unsafe write(controller, bytes, bytes.count) == bytes.count)
    }

    /// Waits until the terminal shows `text`; returns everything that it has shown since the last call.
    public func shows(_ text: String) async throws -> String {
        var shown: [UInt8] = []
        var all: String { String(decoding: shown, as: UTF8.self) }
        var buffer = [UInt8](repeating: 0, count: 1024)
        return try await eventually("\(text) on the terminal", details: { all }) {
            let count = unsafe read(controller, &buffer, buffer.count)
            if count > 0 { shown += buffer[..<count] }
            return all.contains(text) ? all : nil
        }
    }

    /// Whether the terminal shows what is typed.
    public var echoes: Bool {
        var settings = termios()
        return unsafe tcgetattr(controller, &settings) == 0 && settings.c_lflag & tcflag_t(ECHO) != 0
    }
}
