import Foundation
import MandosFormats
import Testing

@testable import POSIXKit

/// A directory that is gone with its owner.
func temporaryDirectory() throws -> TemporaryDirectory {
    try TemporaryDirectory(in: [NSTemporaryDirectory()], prefix: "posixkit")
}

/// Later than any test.
var farAway: BootTime { .now().after(milliseconds: 60_000) }

func shell(_ script: String, input: String? = nil, outputLimit: Int = 1000) throws -> PipedChild {
    try PipedChild.start(
        "/bin/sh", arguments: ["sh", "-c", script], environment: ["PATH=/usr/bin:/bin"],
        input: input.map { SecretBuffer(Array($0.utf8)) }, outputLimit: outputLimit)
}

extension PipedChild {
    func waitForOutcome() -> Outcome {
        while true {
            if let outcome = advance() { return outcome }
            var set = PollSet()
            register(in: &set)
            set.wait()
        }
    }

    func wait(forOutput text: String) {
        while advance() == nil, self.text != text {
            var set = PollSet()
            register(in: &set)
            set.wait()
        }
    }

    /// The number that it prints first.
    func waitForProcessID() throws -> pid_t {
        while advance() == nil, !text.hasSuffix("\n") {
            var set = PollSet()
            register(in: &set)
            set.wait()
        }
        return try #require(pid_t(text.dropLast()))
    }

    var text: String { output.text }
}

extension SecretBuffer {
    var text: String { unsafe withBytes { unsafe String(decoding: $0, as: UTF8.self) } }
}
