import Foundation
import Glibc
import MandosFormats
import Testing

@testable import POSIXKit

@Suite struct `A child process` {
    private func start(
        _ script: String, group: ChildProcess.Group = .own, directory: String? = nil
    ) throws -> ChildProcess {
        let null = try FileDescriptor.nothing()
        return try ChildProcess.start(
            "/bin/sh", arguments: ["sh", "-c", script], environment: ["PATH=/usr/bin:/bin"],
            standard: [null.number, null.number, null.number], directory: directory, group: group)
    }

    @Test func `tells its exit status`() throws {
        let child = try start("exit 7")
        #expect(child.waitForStatus() == .exit(status: 7))
    }

    @Test func `tells the signal that ended it`() throws {
        let child = try start("kill -USR1 $$")
        #expect(child.waitForStatus() == .signal(SIGUSR1))
    }

    @Test func `has no status while it runs`() throws {
        let child = try start("exec sleep 1000")
        #expect(child.status() == nil && child.statusEndingGroup() == nil && !child.hasEnded)
        #expect(child.end() == .signal(SIGKILL))
    }

    @Test func `runs in the given directory`() throws {
        let child = try start("test \"$PWD\" = /usr", directory: "/usr")
        #expect(child.waitForStatus() == .success)
    }

    @Test(arguments: [ChildProcess.Group.own, .ownSession])
    func `leads a group unless it inherits ours`(group: ChildProcess.Group) throws {
        let child = try start("exec sleep 1000", group: group)
        #expect(getpgid(child.processID) == child.processID)
        #expect((getsid(child.processID) == child.processID) == (group == .ownSession))
        child.end()
        let other = try start("exec sleep 1000", group: .inherited)
        #expect(getpgid(other.processID) == getpgrp())
        other.end()
    }

    @Test func `that cannot be started is an error with its path`() throws {
        let error = #expect(throws: SystemError.self) {
            _ = try ChildProcess.start("/nonexistent", arguments: ["x"], environment: [], standard: [0, 1, 2])
        }
        #expect(error?.description == "starting /nonexistent: No such file or directory")
        #expect(error?.isNoSuchFile == true)
    }

    @Test func `gets each descriptor under its number, also one that has the number of another here`() throws {
        let null = try FileDescriptor.nothing()
        let errors = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/2")
        let child = try ChildProcess.start(
            "/bin/sh", arguments: ["sh", "-c", #"test "$(readlink /proc/$$/fd/3)" = "$1""#, "sh", errors],
            environment: ["PATH=/usr/bin:/bin"], standard: [null.number, null.number, null.number, STDERR_FILENO])
        #expect(child.waitForStatus() == .success)
    }

    @Test func `gets no descriptor but the standard ones`() throws {
        let open = try FileDescriptor.open("/", O_RDONLY)
        let child = try start("test ! -e /proc/self/fd/\(open.number)")
        #expect(child.waitForStatus() == .success)
    }

    @Test func `is asked to end first`() throws {
        let child = try start("exec sleep 1000")
        #expect(child.end(by: Teardown(termination: 60_000)) == .signal(SIGTERM))
    }

    @Test func `that ignores SIGTERM is killed`() throws {
        let child = try shell("trap '' TERM; echo ready; while :; do sleep 1000; done")
        child.wait(forOutput: "ready\n")
        child.end()
        #expect(child.advance() == .ended(.signal(SIGKILL)))
    }
}

@Suite struct `A teardown` {
    private func run(untilEnded ending: Int32?) -> (signals: [Int32], hasEnded: Bool) {
        var signals: [Int32] = []
        let hasEnded = Teardown(termination: 10, kill: 10).run {
            signals.append($0)
        } hasEnded: { _ in
            signals.last == ending
        }
        return (signals, hasEnded)
    }

    @Test func `asks, and does not kill a process that complies`() {
        #expect(run(untilEnded: SIGTERM) == ([SIGTERM], true))
    }

    @Test func `kills a process that does not`() { #expect(run(untilEnded: SIGKILL) == ([SIGTERM, SIGKILL], true)) }

    @Test func `tells that nothing helped`() { #expect(run(untilEnded: nil) == ([SIGTERM, SIGKILL], false)) }
}

@Suite struct `A termination status` {
    @Test func `is described in one way`() {
        #expect(TerminationStatus.exit(status: 1).description == "exit status 1")
        #expect(TerminationStatus.signal(9).description == "signal 9")
        #expect(TerminationStatus.success.isSuccess && !TerminationStatus.exit(status: 1).isSuccess)
    }
}
