import InitramfsKit

/// Passes on what plugins say on standard error, with the name of who says it.
final class PluginVoices {
    /// Whose line is not at its end yet: a prompt stays on its line.
    private var speaker: String?

    /// How much is taken at once, in bytes.
    private static let portion = 65_536

    func passOnErrors(of process: PluginProcess, _ name: String) {
        let heard = SecretBuffer(limit: Self.portion)
        process.drainErrors(into: heard)
        unsafe heard.withBytes { bytes in unsafe say(bytes, name) }
    }

    private func say(_ text: UnsafeRawBufferPointer, _ name: String) {
        if unsafe text.isEmpty { return }
        var said: [UInt8] = []
        if let speaker, !speaker.utf8.elementsEqual(name.utf8) {
            said.append(UInt8(ascii: "\n"))
            self.speaker = nil
        }
        for byte in unsafe Array(text) {
            if speaker == nil {
                said += Array((name + ": ").utf8)
                speaker = name
            }
            said.append(byte)
            if byte == UInt8(ascii: "\n") { speaker = nil }
        }
        _ = unsafe said.withUnsafeBytes { unsafe try? writeAll($0, to: ExitStatus.standardError) }
    }
}
