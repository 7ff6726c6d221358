import MandosFormats

/// A question for a password, from a file `ask.xxxx` in /run/systemd/ask-password.
///
/// Of its section `[Ask]`, only the keys that are needed to answer; the others are for display. Values are literal.
/// Source: https://systemd.io/PASSWORD_AGENTS/.
struct AskFile: Equatable, Sendable {
    /// Maximum size of the file, in bytes.
    static let largestFile = 1 << 16

    /// Absolute path of the socket that takes the answer.
    let socket: String
    /// The process that asks.
    let processID: Int32
    /// When the question expires, in microseconds on CLOCK_MONOTONIC; nil if it does not.
    let notAfter: Int64?
    /// `Id=`, the same whenever the same question is asked again; empty if there is none.
    let identity: [UInt8]
    /// A problem that does not prevent an answer; nil if there is none.
    let complaint: String?

    /// Why a question cannot be answered.
    struct Problem: Error, Equatable, CustomStringConvertible {
        let description: String
    }

    /// Parses the whole contents of the file.
    init(_ contents: [UInt8]) throws(Problem) {
        var socket: ArraySlice<UInt8>?
        var processID: ArraySlice<UInt8>?
        var notAfter: ArraySlice<UInt8>?
        var identity: ArraySlice<UInt8>?
        var isInSection = false
        for line in contents.split(separator: UInt8(ascii: "\n")) {
            let text = trimmed(line)
            if text.first == UInt8(ascii: "[") {
                isInSection = text.elementsEqual("[Ask]".utf8)
                continue
            }
            guard isInSection, let equals = text.firstIndex(of: UInt8(ascii: "=")) else { continue }
            let key = trimmed(text[..<equals])
            let value = trimmed(text[(equals + 1)...])
            if key.elementsEqual("Socket".utf8) {
                socket = value
            } else if key.elementsEqual("PID".utf8) {
                processID = value
            } else if key.elementsEqual("NotAfter".utf8) {
                notAfter = value
            } else if key.elementsEqual("Id".utf8) {
                // Which of several is meant is not known: the question is then left to people.
                identity = identity == nil ? value : []
            }
        }
        guard let socket, let path = String(validating: socket, as: UTF8.self), !path.utf8.contains(0) else {
            throw Problem(description: "it does not say where the answer goes (Socket=)")
        }
        guard socket.first == UInt8(ascii: "/") else { throw Problem(description: "Socket= is no absolute path") }
        guard let processID, let number = decimalNumber(processID), number > 0, number <= Int32.max else {
            throw Problem(description: "it does not say who asks (PID=)")
        }
        self.socket = path
        self.processID = Int32(number)
        self.identity = Array(identity ?? [])
        let time = notAfter.map { decimalNumber($0) }
        complaint =
            switch time {
            case .some(nil): "NotAfter= is no number; the question is taken for one without an end"
            case .some(.some), nil: nil
            }
        // 0 means no expiry, as does an invalid number: better one answer too many than a machine that does not start.
        self.notAfter =
            switch time {
            case .some(.some(let time)) where time > 0: time
            case .some, nil: nil
            }
    }

    /// Whether it asks for a volume's password, rather than a token's PIN or anything else; `verify` of crypttab(5) asks
    /// for the password twice. Source: questions of systemd-cryptsetup 252.
    var isForVolume: Bool {
        identity.starts(with: "cryptsetup:".utf8) || identity.starts(with: "cryptsetup-verification:".utf8)
    }

    /// Whether the question has expired at `time`, in microseconds on CLOCK_MONOTONIC.
    func isOver(at time: Int64) -> Bool { notAfter.map { $0 <= time } ?? false }
}
