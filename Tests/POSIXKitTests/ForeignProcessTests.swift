import Glibc
import MandosFormats
import Testing

@testable import POSIXKit

@Suite struct `A foreign process` {
    /// A child of ours stands for a process of another program's.
    private func sleeper() throws -> ChildProcess {
        let null = try FileDescriptor.nothing()
        return try ChildProcess.start(
            "/bin/sleep", arguments: ["sleep", "1000"], environment: [],
            standard: [null.number, null.number, null.number])
    }

    private func exists(_ processID: pid_t) -> Bool {
        switch ForeignProcess(processID) {
        case .some: true
        case .none: false
        }
    }

    private func hold(_ processID: pid_t) throws -> ForeignProcess {
        guard let process = ForeignProcess(processID) else { throw SystemError("holding a process", code: ESRCH) }
        return process
    }

    private func find(running program: String, holding file: String) -> pid_t? {
        ForeignProcess.find(running: program, holding: file)?.processID
    }

    @Test func `does not exist without a number`() {
        #expect(!exists(0))
        #expect(!exists(-1))
        #expect(!exists(.max))
    }

    @Test func `is not found when it has ended`() throws {
        let child = try sleeper()
        child.signal(SIGKILL)
        _ = waitUntilReadable(child.descriptor, until: farAway)
        #expect(!exists(child.processID))
        child.end()
    }

    @Test func `shows its arguments and its environment`() throws {
        // A child that has not spoken yet may not show its own yet.
        let script = "echo $$; kill -STOP $$"
        let child = try shell(script)
        let process = try hold(try child.waitForProcessID())
        #expect(process.arguments == ["sh", "-c", script])
        #expect(process.environmentValue("PATH") == "/usr/bin:/bin")
        #expect(process.environmentValue("PAT") == nil)
    }

    @Test func `is found by its program and a file that it has open`() throws {
        let directory = try temporaryDirectory()
        let path = directory.path + "/open"
        try writeNewFile(path, [])
        #expect(find(running: "/bin/sh", holding: path) == nil)
        let child = try shell("exec 3<'\(path)'; echo $$; kill -STOP $$")
        let processID = try child.waitForProcessID()
        #expect(find(running: "/bin/sh", holding: path) == processID)
        #expect(find(running: "/bin/sleep", holding: path) == nil)
    }

    @Test func `is ended`() throws {
        let child = try sleeper()
        let process = try hold(child.processID)
        let hasEndedBefore = process.hasEnded
        #expect(!hasEndedBefore)
        var problems: [String] = []
        let hasEnded = process.end(by: Teardown(termination: 60_000)) { problems.append($0) }
        #expect(hasEnded && problems.isEmpty)
        #expect(child.waitForStatus() == .signal(SIGTERM))
    }
}
