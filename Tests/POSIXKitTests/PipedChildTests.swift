import Glibc
import MandosFormats
import Testing

@testable import POSIXKit

@Suite struct `A child with pipes` {
    @Test func `gets its input and gives its output`() throws {
        let child = try shell("tr a-z A-Z", input: "secret")
        #expect(child.waitForOutcome() == .ended(.success))
        #expect(child.text == "SECRET")
    }

    @Test func `takes more input and output than a pipe holds`() throws {
        let text = String(repeating: "0123456789", count: 30_000)
        let child = try shell("exec cat", input: text, outputLimit: 1_000_000)
        #expect(child.waitForOutcome() == .ended(.success))
        #expect(child.text == text)
    }

    @Test func `has an empty input if there is none`() throws {
        let child = try shell("cat; echo end")
        #expect(child.waitForOutcome() == .ended(.success))
        #expect(child.text == "end\n")
    }

    @Test func `need not read its input`() throws {
        let child = try shell("exit 3", input: String(repeating: "x", count: 200_000))
        #expect(child.waitForOutcome() == .ended(.exit(status: 3)))
        #expect(!child.hasReadInput)
    }

    @Test func `is known to have read its input`() throws {
        let child = try shell("read line; echo $line; exec sleep 1000", input: "a\nb\n")
        child.wait(forOutput: "a\n")
        #expect(child.hasReadInput)
    }

    @Test func `that prints too much is ended`() throws {
        let child = try shell("exec yes", outputLimit: 5000)
        #expect(child.waitForOutcome() == .tooMuchOutput)
        #expect(child.output.count == 5000)
        #expect(child.advance() == .tooMuchOutput)
    }

    @Test func `fails for the last reason on standard error, or else with its status`() throws {
        let loud = try shell("echo first >&2; echo last >&2; exit 2")
        #expect(loud.waitForOutcome() == .ended(.exit(status: 2)))
        #expect(loud.reason(of: .exit(status: 2)) == "last")
        let quiet = try shell("kill -KILL $$")
        #expect(quiet.waitForOutcome() == .ended(.signal(SIGKILL)))
        #expect(quiet.reason(of: .signal(SIGKILL)) == "signal 9")
    }

    @Test func `takes what it left behind in its group with it`() throws {
        let child = try shell("sleep 1000 & echo $!")
        #expect(child.waitForOutcome() == .ended(.success))
        let leftover = try #require(pid_t(child.text.dropLast()))
        let hasEnded = ForeignProcess(leftover)?.wait(until: farAway) ?? true
        #expect(hasEnded)
    }

    @Test func `ends with its object`() throws {
        var child: PipedChild? = try shell("echo $$; exec sleep 1000")
        let processID = try #require(try child?.waitForProcessID())
        child = nil
        // It was waited for, so that not even a zombie is left.
        #expect(kill(processID, 0) == -1 && errno == ESRCH)
    }

    @Test func `may write before it ends when it is asked to`() throws {
        let pipes = try ChildPipes.make(capturesErrors: false)
        let script = "trap 'yes | head -c 200000; exit 4' TERM; echo ready; while :; do sleep 1000 & wait $!; done"
        let process = try ChildProcess.start(
            "/bin/sh", arguments: ["sh", "-c", script], environment: ["PATH=/usr/bin:/bin"], standard: pipes.standard)
        let child = PipedChild(
            process, pipes, output: SecretBuffer(limit: 1_000_000), teardown: Teardown(termination: 60_000))
        child.wait(forOutput: "ready\n")
        child.end()
        #expect(child.advance() == .ended(.exit(status: 4)))
        #expect(child.output.count >= 200_000)
    }
}
