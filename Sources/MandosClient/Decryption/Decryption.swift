public import MandosFormats
public import POSIXKit

/// Decrypts one message with the installed OpenPGP programs, each in turn, until one succeeds.
public final class Decryption {
    /// How long one program may take, in milliseconds: the last one long enough for RSA 4096 on a small machine under emulation, those
    /// before it less, since one that hangs keeps the next one from its turn.
    private static let timeLimit: Int64 = 60_000
    private static let timeLimitBeforeOthers: Int64 = 15_000
    /// Where GnuPG's home may be; the initramfs has at least one of these, in memory.
    public static let standardPlaces = ["/run", "/tmp"]
    private static let environment = ["PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C"]

    /// The failures of all programs.
    public struct Failure: Error, CustomStringConvertible {
        public let description: String
    }

    private enum Step {
        case decrypt
        /// GnuPG decrypts only with keys in its home.
        case importKey
    }

    private let message: SecretBuffer
    private let isEncrypted: Bool
    private let secretKeyFile: String
    private let temporaryPlaces: [String]
    private let report: (String) -> Void
    private var programs: ArraySlice<DecryptionProgram>
    private var running: (program: DecryptionProgram, step: Step, process: PipedChild)?
    private var deadline: BootTime?
    private var home: GnuPGHome?
    private var failures: [String] = []

    public init(
        of message: [UInt8], secretKeyFile: String, programs: [DecryptionProgram] = DecryptionProgram.installed(),
        temporaryPlaces: [String] = standardPlaces, report: @escaping (String) -> Void = { _ in }
    ) {
        self.report = report
        let message = OpenPGPMessage.withoutArmor(message)
        isEncrypted = OpenPGPMessage.isEncrypted(message)
        self.message = SecretBuffer(message)
        // A file name must not look like an option.
        self.secretKeyFile = secretKeyFile.utf8.first == UInt8(ascii: "-") ? "./" + secretKeyFile : secretKeyFile
        self.programs = programs[...]
        self.temporaryPlaces = temporaryPlaces
    }

    /// Length of the message, in bytes.
    var size: Int { message.count }

    public func register(in set: inout PollSet) {
        running?.process.register(in: &set)
        set.limit(to: deadline)
    }

    /// Goes on without blocking; the first call starts the first program.
    ///
    /// - Returns: the password, or nil while a program runs.
    public func advance(at now: BootTime) throws(Failure) -> SecretBuffer? {
        guard isEncrypted else { throw Failure(description: "what it sent is not an encrypted OpenPGP message") }
        while true {
            if running == nil { try begin(at: now) }
            guard let (program, step, process) = running else { return nil }
            guard let outcome = process.advance() else {
                guard let deadline, now >= deadline else { return nil }
                running = nil
                note(program, "took too long")
                report(program.path + " took too long; " + (programs.isEmpty ? "giving up" : "trying the next program"))
                continue
            }
            running = nil
            switch (outcome, step) {
            case (.ended(.success), .importKey): begin(program, .decrypt, at: now)
            case (.ended(.success), .decrypt) where process.output.count > 0: return process.output
            case (.ended(.success), .decrypt): note(program, "the password in the message is empty")
            case (.ended(let status), _): note(program, status.description + ": " + process.lastErrorLine)
            case (.tooMuchOutput, _): note(program, "the password is longer than \(ProtocolLimits.largestSecret) bytes")
            }
        }
    }

    /// Starts the next program.
    private func begin(at now: BootTime) throws(Failure) {
        while running == nil {
            guard let program = programs.popFirst() else {
                if failures.isEmpty {
                    throw Failure(description: "no OpenPGP program is installed; install sqop or gpg")
                }
                throw Failure(description: "the message cannot be decrypted: " + failures.joined(separator: "; "))
            }
            switch program {
            case .stateless: begin(program, .decrypt, at: now)
            case .gnuPG: begin(program, .importKey, at: now)
            }
        }
    }

    private func begin(_ program: DecryptionProgram, _ step: Step, at now: BootTime) {
        do throws(SystemError) {
            let process = try PipedChild.start(
                program.path, arguments: try arguments(for: program, step), environment: Self.environment,
                input: step == .decrypt ? message : nil, outputLimit: ProtocolLimits.largestSecret)
            running = (program, step, process)
            deadline = now.after(milliseconds: programs.isEmpty ? Self.timeLimit : Self.timeLimitBeforeOthers)
        } catch {
            note(program, error.description)
        }
    }

    private func arguments(for program: DecryptionProgram, _ step: Step) throws(SystemError) -> [String] {
        switch program {
        case .stateless(let path):
            return [path, "decrypt", secretKeyFile]
        case .gnuPG(let path):
            let home: GnuPGHome
            if let existing = self.home {
                home = existing
            } else {
                home = try GnuPGHome(in: temporaryPlaces)
                self.home = home
            }
            // The clock may have lost the time, and then the key is in the future.
            let common = [
                path, "--homedir", home.path, "--batch", "--no-tty", "--quiet", "--no-options",
                "--ignore-time-conflict",
            ]
            switch step {
            case .importKey: return common + ["--import", secretKeyFile]
            case .decrypt: return common + ["--trust-model", "always", "--decrypt"]
            }
        }
    }

    private func note(_ program: DecryptionProgram, _ reason: String) {
        let name = program.path.utf8.split(separator: UInt8(ascii: "/")).last.map { String(Substring($0)) } ?? ""
        failures.append(name + ": " + reason)
    }
}
