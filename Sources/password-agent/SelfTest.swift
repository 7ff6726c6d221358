import InitramfsKit
import MandosFormats
import POSIXKit

/// The test that `--test` runs: checks in a temporary directory that this program works on this system.
///
/// Prints its results in the Test Anything Protocol. Source: password-agent(8mandos) `--test`.
struct SelfTest {
    private static let places = ["/run", "/tmp"]
    private static let longestAnswer = 4096

    private var count = 0
    private var failures = 0

    /// Runs all tests; the exit status is 0 if they pass.
    static func run(until stop: borrowing StopSignals) -> ProgramEnding {
        var test = SelfTest()
        test.questions()
        do throws(SystemError) {
            try test.answers(stop)
        } catch {
            test.expect(false, "there is a place for questions: \(error)")
        }
        say("1..\(test.count)")
        return .exit(test.failures == 0 ? .success : .software)
    }

    private mutating func questions() {
        let question = """
            [Ask]
            PID=17
            Socket=/run/systemd/ask-password/sck.f00
            AcceptCached=1
            Echo=0
            NotAfter=2000
            Message=100% of [Socket]=/nowhere; #1
            Icon=drive-harddisk
            Id=cryptsetup:/dev/vda

            """
        let ask = try? AskFile(Array(question.utf8))
        let socket = ask?.socket.utf8
        expect(socket?.elementsEqual("/run/systemd/ask-password/sck.f00".utf8) == true, "a question says where")
        expect(ask?.processID == 17, "a question says who")
        expect(ask?.isForVolume == true, "a question says what it is about")
        expect(ask?.isOver(at: 2000) == true && ask?.isOver(at: 1999) == false, "a question ends in time")
        let endless = try? AskFile(Array("[Ask]\nSocket=/s\nPID=1\nNotAfter=0\n".utf8))
        expect(endless?.isOver(at: .max) == false, "a question may be without an end")
        let useless = ["", "Socket=/s\nPID=1", "[Ask]\nPID=1", "[Ask]\nPID=1\nSocket=s", "[Ask]\nSocket=/s\nPID=0"]
        for text in useless {
            expect((try? AskFile(Array(text.utf8))) == nil, "what is no question is not answered")
        }
    }

    private mutating func answers(_ stop: borrowing StopSignals) throws(SystemError) {
        let directory = try TemporaryDirectory(in: Self.places, prefix: "password-agent")
        let path = directory.path + "/socket"
        let socket = try DatagramSocket.bound(to: path)
        var settings = Settings()
        settings.agentDirectory = directory.path
        // Nobody would remove the questions.
        settings.staysWhileAsked = false
        settings.answeredFile = directory.path + "/answered"
        // Only root can run the client as another user.
        if !Hardening.isRoot { (settings.user, settings.group) = (OwnProcess.user, OwnProcess.group) }
        // The only program that is certain to exist.
        settings.client = ["/proc/self/exe", "--version"]

        expect(isSuccess(settings, stop) == false, "without a question, no client is run")
        let head = "[Ask]\nPID=\(OwnProcess.id)\nSocket=\(path)\nId=cryptsetup:x\n"
        try writeNewFile(directory.path + "/ask.old", Array((head + "NotAfter=1\n").utf8))
        expect(isSuccess(settings, stop), "a question that has ended needs no client")
        expect(socket.receive(limit: Self.longestAnswer) == nil, "a question that has ended is not answered")

        try writeNewFile(directory.path + "/ask.new", Array(head.utf8))
        expect(isSuccess(settings, stop), "a question is answered")
        let answer = "+" + PasswordAgentProgram.program.description + " " + mandosVersion + "\n\0"
        expect(
            socket.receive(limit: Self.longestAnswer) == Array(answer.utf8), "the answer is what the client prints")
        expect(socket.receive(limit: Self.longestAnswer) == nil, "a question is answered once")
    }

    private func isSuccess(_ settings: Settings, _ stop: borrowing StopSignals) -> Bool {
        switch Agent.run(settings, until: stop, report: { Self.say("# " + $0) }) {
        case .exit(.success): true
        case .exit: false
        case .signal(let signal): dieOf(signal)
        }
    }

    private mutating func expect(_ isTrue: Bool, _ what: String) {
        count += 1
        if !isTrue { failures += 1 }
        Self.say((isTrue ? "ok " : "not ok ") + String(count) + " - " + what)
    }

    private static func say(_ line: String) {
        _ = try? writeAll(Array((line + "\n").utf8), to: ExitStatus.standardOutput)
    }
}
