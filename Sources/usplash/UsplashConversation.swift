import CMandosSystem
import InitramfsKit
import POSIXKit

/// Commands to usplash(8), and its answers, through two FIFOs.
///
/// Source: usplash(8mandos), "FILES"; the behaviour of Mandos 1.8.16: each command ends with a zero byte.
struct UsplashConversation: ~Copyable {
    static var commandFIFO: String { "/dev/.initramfs/usplash_fifo" }
    private static var answerFIFO: String { "/dev/.initramfs/usplash_outfifo" }

    /// The command to move the progress bar to and fro, since the progress of the boot is unknown.
    static var pulsate: [UInt8] { command("PULSATE") }

    private static let timeToDie: Int64 = 500

    private let commands: FileDescriptor
    private let answers: FileDescriptor

    /// - Returns: nil if there are no such FIFOs, or we may not open them.
    static func open() -> UsplashConversation? {
        // O_RDWR neither waits for usplash nor fails before usplash has opened the FIFO.
        guard let commands = openFIFO(commandFIFO, O_RDWR), let answers = openFIFO(answerFIFO, O_RDONLY) else {
            return nil
        }
        return UsplashConversation(commands: commands, answers: answers)
    }

    private static func openFIFO(_ path: String, _ mode: Int32) -> FileDescriptor? {
        guard let fifo = try? FileDescriptor.open(path, mode | O_NONBLOCK | O_NOFOLLOW) else { return nil }
        var status = stat()
        guard unsafe fstat(fifo.number, &status) == 0, status.isFIFO else { return nil }
        return fifo
    }

    /// Asks, and waits for the answer until `question` tells that the splash screen has ended.
    borrowing func ask(
        _ prompt: String, _ question: borrowing SplashQuestion, until stop: borrowing StopSignals
    ) throws(SystemError) -> SplashQuestion.Outcome {
        // usplash must not time out while a user types.
        for command in ["TIMEOUT 0", "INPUTQUIET " + prompt] {
            guard try send(command, until: stop) else { return Self.stopped(stop) }
        }
        let answer = SecretBuffer(limit: SplashQuestion.longestPassword + 1)
        while true {
            var set = PollSet()
            stop.register(in: &set)
            // No event until usplash has opened the FIFO.
            set.add(answers.number)
            question.register(in: &set)
            set.wait()
            if let signal = stop.next() { return .stopped(signal: signal) }
            guard set.isReady(answers.number) else {
                if question.isPointless { return .failed }
                continue
            }
            if try !SplashQuestion.drain(answers, into: answer) { break }
        }
        // Even an empty answer has a zero byte: usplash is exiting. It closes its files first: wait until it has ended.
        if answer.count == 0 {
            question.waitUntilPointless(milliseconds: Self.timeToDie)
            return .failed
        }
        // The initial value.
        guard try send("TIMEOUT 15", until: stop) else { return Self.stopped(stop) }
        return .password(Self.withoutEnd(answer))
    }

    private static func stopped(_ stop: borrowing StopSignals) -> SplashQuestion.Outcome {
        .stopped(signal: stop.next() ?? SIGTERM)
    }

    private static func command(_ text: String) -> [UInt8] { Array(text.utf8) + [0] }

    private borrowing func send(_ text: String, until stop: borrowing StopSignals) throws(SystemError) -> Bool {
        try writeAll(Self.command(text), to: commands.number, unless: stop.descriptor.number)
    }

    /// The password without the zero byte that ends the answer as a C string; none can be typed.
    private static func withoutEnd(_ answer: SecretBuffer) -> SecretBuffer {
        let password = SecretBuffer(limit: max(answer.count, 1))
        unsafe answer.withBytes { bytes in
            var rest = unsafe bytes[...]
            if unsafe rest.last == 0 { unsafe rest.removeLast() }
            while unsafe !rest.isEmpty {
                unsafe password.append { room in
                    let count = unsafe min(room.count, rest.count)
                    unsafe room.copyBytes(from: rest.prefix(count))
                    unsafe rest.removeFirst(count)
                    return count
                }
            }
        }
        return password
    }
}
