import Foundation
import Glibc
import TestSupport
import Testing

/// A program that asks for a password, the way systemd does it.
private final class Asker {
    let directory: TemporaryDirectory
    let name: String
    private let socket: UnixSocket
    var file: String { directory.path + "/ask." + name }

    /// Asks in `directory`. The `fields` replace fields of the file; an empty value removes one.
    init(in directory: TemporaryDirectory, _ name: String = "x", _ fields: [String: String] = [:]) throws {
        self.directory = directory
        self.name = name
        socket = try UnixSocket(at: directory.path + "/sck." + name)
        try ask(fields)
    }

    /// Writes the file in one step, so that nobody reads half of it.
    func ask(_ fields: [String: String] = [:]) throws {
        let usual = [
            "PID": "\(getpid())", "Socket": socket.path, "NotAfter": "0", "Message": "100% [Ask] = x;",
            "Id": "cryptsetup:/dev/" + name,
        ]
        let lines = usual.merging(fields) { $1 }.filter { !$0.value.isEmpty }.map { "\($0.key)=\($0.value)\n" }
        let temporary = try directory.write("[Ask]\n" + lines.joined(), to: "tmp." + name)
        try #require(unsafe rename(temporary, file) == 0)
    }

    func withdraw() throws { try #require(unsafe unlink(file) == 0) }

    /// Takes the next message, if one has come.
    var message: Data? { socket.receive() }

    /// Waits for a message.
    func nextMessage() async throws -> Data { try await eventually("an answer") { message } }

    /// Waits for the answer, and then no longer asks; systemd removes the file first.
    func answer() async throws -> Data {
        let answer = try await nextMessage()
        try withdraw()
        return answer
    }

    /// Fills the queue of the socket; returns how many messages are in it.
    func fillQueue() throws -> Int { try socket.fillQueue() }
}

@Suite(.needsRoot) struct `password-agent` {
    private static let program = Place.program("password-agent")

    /// The agent, with a client that is a shell script; "-p" because the shell would give up root otherwise, and could not
    /// look into the directory.
    private func agent(_ directory: TemporaryDirectory, _ script: String, _ options: [String] = []) throws
        -> RunningProgram
    {
        try RunningProgram(
            Self.program, places(directory) + options + ["--", "/bin/sh", "-pc", script])
    }

    /// Options for the places of questions, and of what is known about them, in `directory`.
    private func places(_ directory: TemporaryDirectory) -> [String] {
        ["--agent-directory", directory.path, "--answered-file", directory.path + "/answered"]
    }

    /// Prints a password when there is a `file`.
    private func waiting(for file: String) -> String { "while [ ! -e '\(file)' ]; do sleep 0.02; done; printf secret" }

    @Test(arguments: [
        (#"printf secret"#, "+secret\0"), (#"printf 'a%%s\n'"#, "+a%s\n\0"), (#"printf 'a\000b'"#, "+a\0b\0"),
        (#":"#, "+\0"), (#"printf a; exec >&-; sleep 0.2"#, "+a\0"),
    ])
    func `sends what the client prints, as it is, to all who ask`(script: String, answer: String) async throws {
        let directory = try TemporaryDirectory()
        let askers = try ["one", "two"].map { try Asker(in: directory, $0) }
        let agent = try agent(directory, script)
        for asker in askers { #expect(try await asker.answer() == Data(answer.utf8)) }
        #expect(try await agent.ending() == .exit(status: 0), "\(agent.errors)")
        for asker in askers { #expect(asker.message == nil) }
        #expect(agent.errors.isEmpty)
        #expect(agent.output.isEmpty)
    }

    @Test func `sends the longest password, and none that is longer`() async throws {
        let directory = try TemporaryDirectory()
        let asker = try Asker(in: directory)
        let script = "head -c $0 /dev/zero | tr '\\0' x"
        let good = try RunningProgram(
            Self.program, places(directory) + ["--", "/bin/sh", "-c", script, "131072"])
        #expect(try await asker.answer().count == 1 + 131_072 + 1)
        #expect(try await good.ending() == .exit(status: 0), "\(good.errors)")
        let askerOfMore = try Asker(in: directory, "y")
        let bad = try RunningProgram(
            Self.program, places(directory) + ["--", "/bin/sh", "-c", script, "131073"])
        let endless = try agent(directory, "exec cat /dev/zero")
        for agent in [bad, endless] { _ = try await agent.line(with: "printed more than 131072 bytes") }
        #expect(askerOfMore.message == nil)
    }

    @Test func `runs the client with another real user and group only, and with the helper directory`() async throws {
        let directory = try TemporaryDirectory()
        let asker = try Asker(in: directory)
        let script = """
            grep -E '^[UG]id:' /proc/self/status | tr '\\t' ' '
            echo "$MANDOSPLUGINHELPERDIR"
            readlink /proc/self/fd/0
            grep -E '^SigBlk:' /proc/self/status | tr -d '\\t'
            """
        let agent = try agent(directory, script, ["-u", "1234", "--group=4321", "--helper-directory=/h"])
        let answer = String(decoding: try await asker.answer(), as: UTF8.self)
        #expect(try await agent.ending() == .exit(status: 0), "\(agent.errors)")
        #expect(
            answer == """
                +Uid: 1234 0 0 0
                Gid: 4321 0 0 0
                /h
                /dev/null
                SigBlk:0000000000000000
                \0
                """)
    }

    @Test func `answers those who ask later, but not those who no longer ask`() async throws {
        let directory = try TemporaryDirectory()
        let go = directory.path + "/go"
        let first = try Asker(in: directory, "first")
        let gone = try Asker(in: directory, "gone")
        // Too busy to listen, so that the agent goes on as long as this is asked.
        let busy = try Asker(in: directory, "busy")
        _ = try busy.fillQueue()
        let agent = try agent(directory, "echo started >&2; " + waiting(for: go))
        _ = try await agent.line(with: "started")
        let later = try Asker(in: directory, "later")
        try gone.withdraw()
        try directory.write("", to: "go")
        #expect(try await first.answer() == Data("+secret\0".utf8))
        #expect(try await later.answer() == Data("+secret\0".utf8))
        try busy.withdraw()
        #expect(try await agent.ending() == .exit(status: 0), "\(agent.errors)")
        #expect(gone.message == nil)
    }

    @Test func `waits for an asker whose socket is full`() async throws {
        let directory = try TemporaryDirectory()
        let asker = try Asker(in: directory)
        let count = try asker.fillQueue()
        #expect(count > 0)
        let agent = try agent(directory, "printf secret; echo done >&2")
        _ = try await agent.line(with: "done")
        for _ in 0..<count { #expect(try await asker.nextMessage() == Data("x".utf8)) }
        #expect(try await asker.answer() == Data("+secret\0".utf8))
        #expect(try await agent.ending() == .exit(status: 0), "\(agent.errors)")
    }

    @Test func `gives up a question whose asker cannot be reached, and says so`() async throws {
        let directory = try TemporaryDirectory()
        let asker = try Asker(in: directory, "x", ["Socket": directory.path + "/nothing"])
        let agent = try agent(directory, "printf secret")
        _ = try await agent.line(with: "\(asker.file): connecting to \(directory.path)/nothing: No such file")
        try asker.withdraw()
        #expect(try await agent.ending() == .exit(status: 69))
        #expect(agent.errors.split(separator: "\n").count == 1)
    }

    @Test(arguments: [
        (["Socket": ""], "where the answer goes"), (["Socket": "sck.x"], "no absolute path"),
        (["Socket": "/" + String(repeating: "a", count: 107)], "too long"), (["PID": ""], "who asks"),
        (["PID": "x"], "who asks"), (["PID": "4194305"], nil), (["NotAfter": "1"], nil),
    ])
    func `runs no client for a question that cannot be answered`(
        fields: [String: String], complaint: String?
    ) async throws {
        let directory = try TemporaryDirectory()
        let asker = try Asker(in: directory, "x", fields)
        let people = try Asker(in: directory, "people", ["Id": "pin"])
        let agent = try agent(directory, "echo started >&2; printf secret")
        _ = try await agent.line(with: "left to people")
        if let complaint {
            let line = try await agent.line(with: "\(asker.file): not answered: ")
            #expect(line.contains(complaint))
        }
        for asker in [asker, people] { try asker.withdraw() }
        #expect(try await agent.ending() == .exit(status: 0))
        #expect(!agent.errors.contains("started"))
        #expect(agent.errors.contains("not answered") == (complaint != nil))
        #expect(asker.message == nil)
    }

    @Test func `takes no pipe, directory, garbage, or endless file for a question, and no other name`() async throws {
        let directory = try TemporaryDirectory()
        try #require(unsafe mkfifo(directory.path + "/ask.fifo", 0o600) == 0)
        try directory.addDirectory("ask.directory")
        try directory.write(Data((0..<60_000).map { UInt8(truncatingIfNeeded: $0 &* 7919 >> 3) }), to: "ask.garbage")
        try directory.write(String(repeating: "\n", count: 1 << 16) + "[Ask]\n", to: "ask.long")
        let good = try Asker(in: directory, "good")
        let other = try Asker(in: directory, "other")
        try #require(unsafe rename(other.file, directory.path + "/xask.other") == 0)
        try FileManager.default.createSymbolicLink(
            atPath: directory.path + "/ask.nowhere", withDestinationPath: directory.path + "/nowhere")
        let agent = try agent(directory, "printf secret")
        #expect(try await good.answer() == Data("+secret\0".utf8))
        for name in ["fifo", "directory", "garbage", "long"] { _ = try await agent.line(with: "ask." + name) }
        for name in ["fifo", "directory", "garbage", "long", "nowhere"] {
            #expect(agent.isRunning)
            try #require(unsafe remove(directory.path + "/ask." + name) == 0)
        }
        #expect(try await agent.ending() == .exit(status: 0), "\(agent.errors)")
        #expect(good.message == nil)
        #expect(other.message == nil)
    }

    @Test func `refuses to start without a question, or a place for one`() async throws {
        let directory = try TemporaryDirectory()
        let idle = try agent(directory, "echo started >&2")
        #expect(try await idle.ending() == .exit(status: 66))
        #expect(idle.errors.contains("there are no questions in \(directory.path)"))
        let lost = try await run(
            Self.program, places(directory) + ["--agent-directory=\(directory.path)/none", "--", "/bin/false"])
        #expect(lost.status == 66)
        #expect(lost.errors.contains("\(directory.path)/none: No such file"))
    }

    @Test(arguments: [
        ("printf secret; exit 3", "failed with exit status 3"), ("printf secret; kill -9 $$", "failed with signal 9"),
    ])
    func `sends nothing that a client has printed before it failed, and tries again`(
        script: String, complaint: String
    ) async throws {
        let directory = try TemporaryDirectory()
        let asker = try Asker(in: directory)
        let agent = try agent(
            directory, "[ ! -e \(directory.path)/third ] || exec printf good; echo try >&2; \(script)")
        try await agent.says("try\n", times: 2)
        #expect(asker.message == nil)
        try directory.write("", to: "third")
        #expect(try await asker.answer() == Data("+good\0".utf8))
        #expect(try await agent.ending() == .exit(status: 0), "\(agent.errors)")
        let report = "password-agent: /bin/sh \(complaint); trying again as long as there are questions\n"
        #expect(agent.errors.replacing("try\n", with: "") == report)
    }

    /// The unit that starts it starts it again as long as there is such a file, until systemd gives up.
    @Test(arguments: ["expired", "its asker has ended", "empty", "FIFO", "directory", "link to nothing", "answered"])
    func `stays as long as there is a file of a question`(kind: String) async throws {
        let directory = try TemporaryDirectory()
        let file = directory.path + "/ask.left"
        let people = try Asker(in: directory, "people", ["Id": "pin"])
        var left: Asker?
        switch kind {
        case "expired": left = try Asker(in: directory, "left", ["NotAfter": "1"])
        case "its asker has ended": left = try Asker(in: directory, "left", ["PID": "4194305"])
        case "empty": try directory.write("", to: "ask.left")
        case "FIFO": try #require(unsafe mkfifo(file, 0o600) == 0)
        case "directory": try directory.addDirectory("ask.left")
        case "link to nothing": try #require(unsafe symlink("/nonexistent", file) == 0)
        default: left = try Asker(in: directory, "left")
        }
        let agent = try agent(directory, "printf secret")
        _ = try await agent.line(with: "left to people")
        if kind == "answered" { _ = try await left?.nextMessage() }
        try people.withdraw()
        try await Task.sleep(for: .milliseconds(500))
        try #require(agent.isRunning)
        let volume = try Asker(in: directory, "volume")
        #expect(try await volume.answer() == Data("+secret\0".utf8))
        #expect(left?.message == nil)
        try #require(unsafe remove(file) == 0)
        #expect(try await agent.ending() == .exit(status: 0), "\(agent.errors)")
    }

    @Test func `says which client it cannot start`() async throws {
        let directory = try TemporaryDirectory()
        let asker = try Asker(in: directory)
        let agent = try RunningProgram(Self.program, places(directory) + ["/nonexistent/client"])
        _ = try await agent.line(
            with: "password-agent: starting /nonexistent/client: No such file or directory; trying again")
        try asker.withdraw()
        #expect(try await agent.ending() == .exit(status: 0), "\(agent.errors)")
        #expect(asker.message == nil)
    }

    @Test func `gives a volume its password once, and leaves further questions to people`() async throws {
        let directory = try TemporaryDirectory()
        let root = try Asker(in: directory, "root")
        let started = "echo started >&2; printf wrong"
        let first = try agent(directory, started)
        #expect(try await root.answer() == Data("+wrong\0".utf8))
        #expect(try await first.ending() == .exit(status: 0), "\(first.errors)")
        // The volume asks again; systemd starts the agent as long as there is a question.
        try root.ask()
        let second = try agent(directory, started)
        _ = try await second.line(with: "left to people: it has had our password before")
        // Another volume may have the same password; and then no question is left but the one for people.
        let home = try Asker(in: directory, "home")
        #expect(try await home.nextMessage() == Data("+wrong\0".utf8))
        try home.withdraw()
        try home.ask()
        try await second.says("left to people", times: 2)
        #expect(second.isRunning)
        for asker in [root, home] {
            #expect(asker.message == nil)
            try asker.withdraw()
        }
        #expect(try await second.ending() == .exit(status: 0), "\(second.errors)")
        #expect(directory.contents(of: "answered") == Data("\ncryptsetup:/dev/root\n\ncryptsetup:/dev/home\n".utf8))
    }

    @Test func `answers one of the questions that a volume asks at the same time`() async throws {
        let directory = try TemporaryDirectory()
        let askers = try ["a", "b", "c"].map { try Asker(in: directory, $0, ["Id": "cryptsetup:/dev/vda"]) }
        let agent = try agent(directory, "printf secret")
        let answers = try await eventually("an answer") {
            let answers = askers.compactMap(\.message)
            return answers.isEmpty ? nil : answers
        }
        for asker in askers { try asker.withdraw() }
        #expect(try await agent.ending() == .exit(status: 0), "\(agent.errors)")
        #expect(answers == [Data("+secret\0".utf8)])
        #expect(askers.allSatisfy { $0.message == nil })
    }

    @Test(arguments: ["fido2-pin", "tpm2-pin", "cryptsetup.tpm2-pin", "home:x", ""])
    func `leaves to people what is no volume's password, and runs no client for it`(id: String) async throws {
        let directory = try TemporaryDirectory()
        let asker = try Asker(in: directory, "pin", ["Id": id])
        let agent = try agent(directory, "echo started >&2; printf secret")
        _ = try await agent.line(with: "ask.pin: left to people: not a volume's password (Id=)")
        // It is answered before the agent ends.
        let volume = try Asker(in: directory)
        #expect(try await volume.answer() == Data("+secret\0".utf8))
        #expect(asker.message == nil)
        try asker.withdraw()
        #expect(try await agent.ending() == .exit(status: 0), "\(agent.errors)")
        #expect(asker.message == nil)
    }

    /// Prepares the list of answered questions at `$0`.
    @Test(arguments: [
        // Cut off, by a full file system, say: the beginning of a name is no name.
        (#"printf 'x\n\ncryptsetup:/dev/x' >"$0""#, nil), (#"printf '\377\000\n\n\n' >"$0""#, nil),
        ("mkdir \"$0\"", "Is a directory"), ("mkfifo \"$0\"", "is no file"),
        ("touch \"$0\"; chmod 602 \"$0\"", "can be changed by other users"),
        ("touch \"$0\"; chown 1234 \"$0\"", "can be changed by other users"),
        ("ln -s /dev/null \"$0\"", "symbolic links"), ("head -c 2000000 /dev/zero >\"$0\"", "File too large"),
    ])
    func `answers each question once also where it cannot keep what was answered, and says so`(
        preparation: String, complaint: String?
    ) async throws {
        let directory = try TemporaryDirectory()
        let asker = try Asker(in: directory)
        let prepared = try await run("/bin/sh", ["-c", preparation, directory.path + "/answered"])
        #expect(prepared.status == 0)
        let agent = try agent(directory, "printf secret")
        #expect(try await asker.answer() == Data("+secret\0".utf8))
        if let complaint {
            #expect(agent.errors.contains(complaint), "\(agent.errors)")
            #expect(agent.errors.contains("the next start will not know"))
            // Therefore there is no next start.
            try await Task.sleep(for: .milliseconds(500))
            #expect(agent.isRunning)
            try asker.ask()
            _ = try await agent.line(with: "left to people: it has had our password before")
            try asker.withdraw()
            #expect(asker.message == nil)
            agent.signal(SIGTERM)
            #expect(try await agent.ending() == .signal(SIGTERM))
        } else {
            #expect(try await agent.ending() == .exit(status: 0), "\(agent.errors)")
            #expect(agent.errors.isEmpty)
            #expect(directory.contents(of: "answered")?.suffix(19) == Data("\ncryptsetup:/dev/x\n".utf8))
        }
    }

    @Test func `keeps what was answered to itself, without the password`() async throws {
        let directory = try TemporaryDirectory()
        let asker = try Asker(in: directory)
        let agent = try agent(directory, "umask 0; printf secret")
        _ = try await asker.answer()
        #expect(try await agent.ending() == .exit(status: 0), "\(agent.errors)")
        let attributes = try FileManager.default.attributesOfItem(atPath: directory.path + "/answered")
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        #expect(directory.contents(of: "answered") == Data("\ncryptsetup:/dev/x\n".utf8))
    }

    @Test func `leaves a question to people whose name is too long to be kept`() async throws {
        let directory = try TemporaryDirectory()
        let asker = try Asker(in: directory, "x", ["Id": "cryptsetup:" + String(repeating: "x", count: 4086)])
        let agent = try agent(directory, "echo started >&2")
        _ = try await agent.line(with: "left to people")
        try asker.withdraw()
        #expect(try await agent.ending() == .exit(status: 0), "\(agent.errors)")
        #expect(!agent.errors.contains("started"))
        #expect(asker.message == nil)
    }

    private static let waits = "trap 'echo stopping >&2; exit 1' TERM; echo started >&2; while :; do sleep 0.05; done"

    @Test(arguments: ["withdrawn", "over", "asked by nobody"])
    func `ends the client when the question is no longer asked`(how: String) async throws {
        let directory = try TemporaryDirectory()
        let process = try RunningProgram("/bin/sleep", ["1000"])
        let asker = try Asker(in: directory, "x", ["PID": "\(process.processID)"])
        let agent = try agent(directory, Self.waits)
        _ = try await agent.line(with: "started")
        switch how {
        case "withdrawn": try asker.withdraw()
        case "over":
            var now = timespec()
            _ = unsafe clock_gettime(CLOCK_MONOTONIC, &now)
            try asker.ask(["NotAfter": "\(now.tv_sec * 1_000_000 + now.tv_nsec / 1000 + 500_000)"])
        case "asked by nobody": process.signal(SIGKILL)
        default: break
        }
        _ = try await agent.line(with: "stopping")
        if how != "withdrawn" { try asker.withdraw() }
        #expect(try await agent.ending() == .exit(status: 0), "\(agent.errors)")
        #expect(asker.message == nil)
    }

    @Test(arguments: [SIGTERM, SIGINT, SIGHUP, SIGQUIT])
    func `ends the client, and then itself, at a signal`(signal: Int32) async throws {
        let directory = try TemporaryDirectory()
        let asker = try Asker(in: directory)
        let agent = try agent(directory, Self.waits)
        _ = try await agent.line(with: "started")
        agent.signal(signal)
        #expect(try await agent.ending() == .signal(signal))
        #expect(agent.errors.contains("stopping"))
        #expect(asker.message == nil)
    }

    @Test(arguments: ["--user=x", "--user=", "--user=-1", "--group=4294967295", "--group=99999999999", "--nonsense"])
    func `refuses options that make no sense`(option: String) async throws {
        #expect(try await run(Self.program, [option]).status == 64)
    }

    @Test func `tests itself`() async throws {
        let result = try await run(Self.program, ["--test"])
        let output = String(decoding: result.output, as: UTF8.self)
        #expect(result.status == 0, "\(output)")
        #expect(output.contains("\n1..16\n"))
        #expect(!output.contains("not ok"))
    }

    @Test(
        .enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/systemd-ask-password"), "needs systemd"),
        arguments: [("secret", "secret\n"), ("a%%b ", "a%b \n"), ("", "\n"), (#"a\000b"#, "a\nb\n")])
    func `answers systemd-ask-password`(format: String, printed: String) async throws {
        // In a mount namespace: the machine's own agents must not see it.
        let script = """
            set -eu
            \(shellWaiting)
            mount -t tmpfs tmpfs /run
            mkdir -p /run/systemd/ask-password
            systemd-ask-password --no-tty --multiple --timeout=120 --id=cryptsetup:x 'Enter [100%] = x;' </dev/null &
            asker=$!
            there_is_a_question() { ls /run/systemd/ask-password/ask.* >/dev/null; }
            eventually there_is_a_question
            "$0" -- /bin/sh -c 'printf "$0"' "$1"
            wait $asker
            """
        let result = try await runInNamespaces(script, [Self.program, format])
        #expect(result.status == 0, "\(result.errors)")
        #expect(String(decoding: result.output, as: UTF8.self) == printed)
    }

    @Test(
        .enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/systemd-ask-password"), "needs systemd"))
    func `leaves a volume's second question to the agents of systemd`() async throws {
        let script = """
            set -eu
            \(shellWaiting)
            mount -t tmpfs tmpfs /run
            mkdir -p /run/systemd/ask-password
            there_is_a_question() { ls /run/systemd/ask-password/ask.* >/dev/null; }
            for try in 1 2; do
                systemd-ask-password --no-tty --id=cryptsetup:/dev/vda Password: </dev/null >/run/given.$try &
                asker=$!
                eventually there_is_a_question
                if [ $try = 2 ]; then
                    "$0" -- /bin/sh -c 'printf wrong' 2>/run/errors &
                    agent=$!
                    eventually grep -q 'left to people' /run/errors
                    printf typed | /lib/systemd/systemd-reply-password 1 "$(sed -n s/Socket=//p /run/systemd/ask-password/ask.*)"
                    wait $agent
                else
                    "$0" -- /bin/sh -c 'printf wrong'
                fi
                wait $asker
            done
            cat /run/given.*
            """
        let result = try await runInNamespaces(script, [Self.program])
        #expect(result.status == 0, "\(result.errors)")
        #expect(String(decoding: result.output, as: UTF8.self) == "wrong\ntyped\n")
    }

    @Test(
        .enabled(
            if: FileManager.default.isExecutableFile(atPath: "/lib/systemd/systemd-cryptsetup"), "needs systemd"))
    func `answers systemd-cryptsetup`() async throws {
        // Without a device mapper it can ask, and try the password, but make no device.
        let script = """
            set -eu
            \(shellWaiting)
            mount -t tmpfs tmpfs /run
            mkdir -p /run/systemd/ask-password /run/cryptsetup
            truncate -s 20M /run/disk
            printf secret | cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 /run/disk -
            /lib/systemd/systemd-cryptsetup attach volume /run/disk - luks,tries=1 </dev/null 2>/run/log &
            asker=$!
            there_is_a_question() { ls /run/systemd/ask-password/ask.* >/dev/null; }
            eventually there_is_a_question
            grep ^Id= /run/systemd/ask-password/ask.*
            "$0" -- /bin/sh -c 'printf secret'
            wait $asker || true
            grep -c 'Set cipher' /run/log
            """
        let result = try await runInNamespaces(script, [Self.program])
        #expect(result.status == 0, "\(result.errors)")
        #expect(String(decoding: result.output, as: UTF8.self) == "Id=cryptsetup:/run/disk\n1\n")
    }
}
