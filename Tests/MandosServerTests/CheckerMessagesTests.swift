import MandosFormats
import Testing

@testable import MandosServer

@Suite struct `Messages about checkers` {
    @Test(arguments: [CheckerRequest.start(1, command: Array("true".utf8)), .start(.max, command: []), .kill(258)])
    func `arrive as requests`(request: CheckerRequest) {
        let (head, command) = request.parts
        #expect(CheckerRequest(head + command) == request)
    }

    @Test(arguments: [
        CheckerAnswer.Result.ended(.exit(status: 255)), .ended(.signal(9)), .notStarted(11), .notStarted(-1),
    ])
    func `arrive as answers`(result: CheckerAnswer.Result) {
        let answer = CheckerAnswer(number: 0x0102_0304_0506_0708, result)
        #expect(answer.message.count == CheckerAnswer.size)
        #expect(CheckerAnswer(answer.message) == answer)
    }

    @Test(arguments: [[], [0], [7, 0, 0, 0, 0, 0, 0, 0, 0], [UInt8](repeating: 9, count: CheckerAnswer.size)])
    func `that are none are refused`(bytes: [UInt8]) {
        #expect(CheckerRequest(bytes) == nil)
        #expect(CheckerAnswer(bytes) == nil)
    }
}
