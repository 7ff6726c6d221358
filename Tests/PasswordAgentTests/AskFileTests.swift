@testable import password_agent
import Testing

@Suite struct `A question's file` {
    /// As systemd 252 has written it.
    private static let written = """
        [Ask]
        PID=8
        Socket=/run/systemd/ask-password/sck.7c65d7704ab8fc5f
        AcceptCached=0
        Echo=0
        NotAfter=28890137504
        Silent=0
        Message=Please enter [100%] = x;
        Id=cryptsetup:x

        """

    @Test func `says where the answer goes, who asks, and how long`() throws {
        let ask = try AskFile(Array(Self.written.utf8))
        #expect(ask.socket == "/run/systemd/ask-password/sck.7c65d7704ab8fc5f")
        #expect(ask.processID == 8)
        #expect(ask.notAfter == 28_890_137_504)
        #expect(ask.complaint == nil)
        #expect(ask.identity == Array("cryptsetup:x".utf8))
    }

    /// Others are those of systemd-cryptsetup 252 and of systemd-ask-password.
    @Test(arguments: [
        ("Id=cryptsetup:/dev/vda2", true), ("Id = cryptsetup:/dev/vda2 \r", true),
        ("Id=cryptsetup-verification:/dev/vda2", true), ("Id=cryptsetup", false), ("Id=cryptsetup.tpm2-pin", false),
        ("Id=tpm2-pin", false), ("Id=fido2-pin", false), ("Id=pkcs11-pin", false), ("Id=zfs:tank", false),
        ("Id=", false), ("", false), ("Id=cryptsetup:x\nId=fido2-pin", false), ("Id=fido2-pin\nId=cryptsetup:x", false),
        ("Id=xcryptsetup:y", false),
    ])
    func `asks for a volume's password, or for something else`(line: String, isForVolume: Bool) throws {
        let ask = try AskFile(Array("[Ask]\nPID=1\nSocket=/s\n\(line)\n".utf8))
        #expect(ask.isForVolume == isForVolume)
    }

    @Test(arguments: [
        ("", nil), ("NotAfter=0", nil), ("NotAfter=1", 1), (" NotAfter = 12\r", 12),
        ("NotAfter=99999999999999999999", Int64.max),
    ])
    func `ends at the time that it says, if any`(line: String, end: Int64?) throws {
        let ask = try AskFile(Array("[Ask]\nPID=1\nSocket=/s\n\(line)\n".utf8))
        #expect(ask.notAfter == end)
        #expect(ask.complaint == nil)
        guard let end else {
            #expect(!ask.isOver(at: .max))
            return
        }
        #expect(ask.isOver(at: end))
        #expect(!ask.isOver(at: end - 1))
    }

    @Test(arguments: ["", "x", "-1", "0x10", "1 2"])
    func `with an end that is no number has none, and this is told`(end: String) throws {
        let ask = try AskFile(Array("[Ask]\nPID=1\nSocket=/s\nNotAfter=\(end)\n".utf8))
        #expect(ask.notAfter == nil)
        #expect(ask.complaint != nil)
    }

    @Test(arguments: [
        "", "garbage", "PID=1\nSocket=/s", "[Other]\nPID=1\nSocket=/s", "[Ask]\nPID=1", "[Ask]\nPID=1\nSocket=",
        "[Ask]\nPID=1\nSocket=s", "[Ask]\nPID=1\nSocket=@s", "[Ask]\nPID=1\nSocket=/a\0b", "[Ask]\nSocket=/s",
        "[Ask]\nPID=\nSocket=/s", "[Ask]\nPID=x\nSocket=/s", "[Ask]\nPID=0\nSocket=/s", "[Ask]\nPID=-1\nSocket=/s",
        "[Ask]\nPID=2147483648\nSocket=/s", "[Ask]\npid=1\nsocket=/s", "[Ask]\nPID=1\n[Other]\nSocket=/s",
    ])
    func `that leaves out what is needed cannot be answered`(text: String) {
        #expect(throws: AskFile.Problem.self) { try AskFile(Array(text.utf8)) }
    }

    @Test func `may have anything else in it`() throws {
        let garbage: [UInt8] = [0xFF, 0xFE, 0, 0x3D, 0x0A, 0x5B, 0x0A, 0x3D, 0x0A]
        let ask = try AskFile(garbage + Array("\n[Ask]\n".utf8) + garbage.dropLast(4) + Array(Self.written.utf8))
        #expect(ask.processID == 8)
    }

    @Test func `with a path that is no UTF-8 cannot be answered`() {
        #expect(throws: AskFile.Problem.self) { try AskFile(Array("[Ask]\nPID=1\nSocket=/".utf8) + [0xFF]) }
    }
}
