import POSIXKit

/// Copies the standard error of plugins to ours, each line prefixed with the name of its plugin.
///
/// A stopped console blocks neither the plugins nor us.
final class PluginVoices {
    /// The plugin whose last line has no newline yet, such as a prompt; nil if there is none.
    private var speaker: String?
    private var output = NonBlockingOutput(on: ExitStatus.standardError)

    /// Maximum size read from one plugin per turn, in bytes: the capacity of a pipe times the reads in one turn.
    private static let portion = 1 << 22
    /// Maximum size passed on at once, in bytes.
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

    /// Writes as much buffered output as standard error takes at once.
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
