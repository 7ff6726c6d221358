import MandosFormats

/// A question for a password, as a file `ask.xxxx` in /run/systemd/ask-password has it.
///
/// Of its section `[Ask]`, only what is needed to answer it; everything else is for people. Values are taken as they are.
/// Source: https://systemd.io/PASSWORD_AGENTS/.
struct AskFile: Equatable, Sendable {
    /// No question is longer, in bytes.
    static let largestFile = 1 << 16

    /// An absolute path: where the answer goes.
    let socket: String
    /// Who asks.
    let processID: Int32
    /// In microseconds on CLOCK_MONOTONIC: from then on nobody wants an answer. Nil if it does not end.
    let notAfter: Int64?
    /// What was wrong with it, but does not keep anybody from answering it.
    let complaint: String?

    /// What keeps anybody from answering a question.
    struct Problem: Error, Equatable, CustomStringConvertible {
        let description: String
    }

    /// Reads a file's whole contents.
    init(_ contents: [UInt8]) throws(Problem) {
        var socket: ArraySlice<UInt8>?
        var processID: ArraySlice<UInt8>?
        var notAfter: ArraySlice<UInt8>?
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
        let time = notAfter.map { decimalNumber($0) }
        complaint =
            switch time {
            case .some(nil): "NotAfter= is no number; the question is taken for one without an end"
            case .some(.some), nil: nil
            }
        // 0 means no end, as does what cannot be read: rather one answer too many than a machine that does not start.
        self.notAfter =
            switch time {
            case .some(.some(let time)) where time > 0: time
            case .some, nil: nil
            }
    }

    /// Whether nobody wants an answer any more at `time`, in microseconds on CLOCK_MONOTONIC.
    func isOver(at time: Int64) -> Bool { notAfter.map { $0 <= time } ?? false }
}
