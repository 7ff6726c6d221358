import InitramfsKit
import MandosFormats
import POSIXKit

/// The role of a running plugin: declared by itself, or else known from its name.
struct KnownRole {
    /// Nil if the plugin has declared none, and has not the name of one of the reference's plugins.
    private let role: PluginRole?
    private let start: BootTime
    /// When the process first declared that it will ask: to declare it again gains no time.
    private var preparation: BootTime?

    /// How long a plugin may take to prompt after it has declared that it will, in milliseconds. Ours need at most 5 s,
    /// for a splash screen that does not answer.
    private static let longestPreparation: Int64 = 30_000
    /// How long an unknown plugin may take to declare its role before it counts as one that asks nobody, in milliseconds.
    private static let longestSilence: Int64 = 3000

    /// The role that the plugins of Mandos 1.8.16 have, which declare none.
    init(ofPlugin name: String, at now: BootTime) {
        let roles: [(StaticString, PluginRole)] = [
            ("askpass-fifo", .relays), ("mandos-client", .fetches), ("password-prompt", .asks), ("plymouth", .asks),
            ("splashy", .asks), ("usplash", .asks),
        ]
        role = roles.first { $0.0.description.utf8.elementsEqual(name.utf8) }?.1
        start = now
    }

    private init(_ role: PluginRole, start: BootTime, preparation: BootTime?) {
        self.role = role
        self.start = start
        self.preparation = preparation
    }

    /// The role after the same process has declared another one, or the same again.
    func declaring(_ newest: PluginRole, at now: BootTime) -> KnownRole {
        KnownRole(newest, start: start, preparation: preparation ?? (newest == .willAsk ? now : nil))
    }

    /// Until when our prompt has to wait for the plugin.
    enum Claim {
        case none
        case until(BootTime)
        case untilItEnds
    }

    var claim: Claim {
        switch role {
        case .asks: .untilItEnds
        case .willAsk: .until((preparation ?? start).after(milliseconds: Self.longestPreparation))
        case nil: .until(start.after(milliseconds: Self.longestSilence))
        case .fetches, .waits, .relays: .none
        }
    }

    /// Whether the plugin may have to put a splash screen or a terminal back in order when it is ended.
    var restores: Bool {
        switch role {
        case .asks, .willAsk: true
        case .fetches, .waits, .relays, nil: false
        }
    }

    /// Whether a password from the plugin was stored, rather than typed: it would be the same at the next try.
    var givesStoredPassword: Bool {
        switch role {
        case .asks, .relays: false
        case .willAsk, .fetches, .waits, nil: true
        }
    }
}

/// The reading end of the pipe by which a plugin declares its role; what comes from it is untrusted.
struct RolePipe: ~Copyable {
    /// Nil after its end, or after too much text.
    private var reading: FileDescriptor?
    /// The line that has no newline yet.
    private var line: [UInt8] = []
    private var received = 0

    /// Maximum size of all declarations of a process, in bytes: a plugin has no reason to declare its role often.
    private static let limit = 4096

    init(_ reading: consuming FileDescriptor?) { self.reading = reading }

    func register(in set: inout PollSet) {
        if let number = reading.number { set.add(number) }
    }

    /// The role that was declared last since the previous call; nil if there was none. Lines that are no role are ignored.
    mutating func newestRole() -> PluginRole? {
        var newest: PluginRole?
        var buffer = [UInt8](repeating: 0, count: Self.limit)
        guard let transfer = try? reading?.read(into: &buffer) else {
            reading = nil
            return nil
        }
        switch transfer {
        case .notReady: break
        case .end: reading = nil
        case .bytes(let count):
            for byte in buffer[..<count] {
                if byte == UInt8(ascii: "\n") {
                    newest = PluginRole(word: line) ?? newest
                    line = []
                } else {
                    line.append(byte)
                }
            }
            received += count
            if received >= Self.limit { reading = nil }
        }
        return newest
    }
}
