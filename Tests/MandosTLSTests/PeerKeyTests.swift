import Testing

@testable import MandosTLS

/// DER, as X.690 has it.
private func der(_ tag: UInt8, _ contents: [UInt8]) -> [UInt8] {
    let count = contents.count
    let length: [UInt8] = count < 128 ? [UInt8(count)] : [0x82, UInt8(count >> 8), UInt8(count & 0xFF)]
    return [tag] + length + contents
}

/// The handshake message in which a client shows an RSA key (RFC 8446 §4.4.2).
private func certificateMessage(modulus: [UInt8], exponent: [UInt8]) -> [UInt8] {
    let algorithm = der(0x30, [0x06, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1, 0x05, 0])
    let key = der(0x30, der(0x02, [0] + modulus) + der(0x02, [0] + exponent))
    let info = der(0x30, algorithm + der(0x03, [0] + key))
    func length(_ count: Int) -> [UInt8] { [0, UInt8(count >> 8), UInt8(count & 0xFF)] }
    let entry = length(info.count) + info + [0, 0]
    return [0] + length(entry.count) + entry
}

@Suite struct `A key that a stranger shows` {
    private static let modulus = [UInt8](repeating: 0xC5, count: 512)

    @Test func `may be an RSA key as people make them`() {
        #expect(
            TLSSession.isReasonable(certificateMessage: certificateMessage(modulus: Self.modulus, exponent: [1, 0, 1])))
    }

    @Test(arguments: [9, 64, 512]) func `may not be one made to take long`(bytes: Int) {
        let exponent = [UInt8](repeating: 0xC5, count: bytes)
        let message = certificateMessage(modulus: Self.modulus, exponent: exponent)
        #expect(!TLSSession.isReasonable(certificateMessage: message))
    }

    @Test func `is left to the handshake to refuse if it is none`() {
        let message = certificateMessage(modulus: Self.modulus, exponent: [1, 0, 1])
        for count in 0..<message.count { _ = TLSSession.isReasonable(certificateMessage: Array(message[..<count])) }
        #expect(TLSSession.isReasonable(certificateMessage: [0, 0, 0, 5, 0, 0, 5, 1, 2, 3, 4, 5]))
        #expect(TLSSession.isReasonable(certificateMessage: [255, 0]))
    }
}
