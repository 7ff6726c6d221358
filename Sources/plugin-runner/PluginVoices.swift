import POSIXKit

/// Copies the standard error of plugins to ours, each line with the name of its plugin.
///
/// A stopped console blocks neither them nor us.
final class PluginVoices {
    /// Whose line is not at its end yet: a prompt stays on its line.
    private var speaker: String?
    private var output = NonBlockingOutput(on: ExitStatus.standardError)

    /// How much of one plugin is taken at once, in bytes: what fills a pipe as often as it is read in one turn.
    private static let portion = 1 << 22
    /// How much of it is passed on at once.
    private static let piece = 1 << 16

    func passOnErrors(of process: PluginProcess, _ name: String) {
        let heard = SecretBuffer(limit: Self.portion)
        process.drainErrors(into: heard)
        unsafe heard.withBytes { bytes in
            var rest = unsafe Array(bytes)[...]
            while !rest.isEmpty {
                say(rest.prefix(Self.piece), name)
                rest = rest.dropFirst(Self.piece)
                output.finish()
            }
        }
    }

    func register(in set: inout PollSet) { output.register(in: &set) }

    func advance(_ set: PollSet) { output.advance(set) }

    /// Says what can still be said at once.
    func finish() { output.finish() }

    private func say(_ text: ArraySlice<UInt8>, _ name: String) {
        var said: [UInt8] = []
        if let speaker, !speaker.utf8.elementsEqual(name.utf8) {
            said.append(UInt8(ascii: "\n"))
            self.speaker = nil
        }
        for byte in text {
            if speaker == nil {
                said += Array((name + ": ").utf8)
                speaker = name
            }
            said.append(byte)
            if byte == UInt8(ascii: "\n") { speaker = nil }
        }
        output.say(said)
    }
}
