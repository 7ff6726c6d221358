import MandosFormats
import POSIXKit

/// The questions in the agent directory that are not answered yet.
///
/// A question is answered once, and again only if its file is written anew.
/// Source: https://systemd.io/PASSWORD_AGENTS/.
struct QuestionDirectory: ~Copyable {
    /// So many at once are taken care of; nobody asks for more than there are disks.
    private static let mostQuestions = 256

    private let path: String
    private let watch: DirectoryWatch
    private let report: (String) -> Void
    private var questions: [Question] = []
    /// Somebody asked who gets no answer.
    private(set) var hasFailed = false

    /// - Throws: if there is no such directory, or it cannot be watched.
    static func open(_ path: String, report: @escaping (String) -> Void) throws(SystemError) -> QuestionDirectory {
        // First the watch: what is written while we look is then seen twice, and never missed.
        QuestionDirectory(path: path, watch: try DirectoryWatch.begin(path), report: report)
    }

    var isEmpty: Bool { questions.isEmpty }

    /// Reads everything that is there.
    ///
    /// - Returns: whether there was any question, however useless.
    mutating func readAll() -> Bool {
        questions = []
        let names = namesOfFiles(in: path).filter(Self.isQuestion)
        for name in names { read(name) }
        return !names.isEmpty
    }

    /// Drops what nobody asks any more, and reads what is new.
    mutating func update() {
        for change in watch.changes() {
            switch change {
            case .written(let name) where Self.isQuestion(name): read(name)
            case .gone(let name): drop(name)
            case .written, .opened: break
            case .missed: _ = readAll()
            }
        }
        questions.removeAll { $0.isOver }
    }

    /// Answers all that are left, as far as that is possible now.
    mutating func answer(_ message: SecretBuffer) {
        var waiting: [Question] = []
        for question in questions {
            switch question.answer(message) {
            case .answered: break
            case .waiting: waiting.append(question)
            case .failed(let error):
                hasFailed = true
                report("\(path)/\(question.name): \(error); whoever asks has to ask again")
            }
        }
        questions = waiting
    }

    /// Waits for everything that ``update()`` and ``answer(_:)`` can act on.
    func register(in set: inout PollSet) {
        set.add(watch.descriptor)
        for question in questions { question.register(in: &set) }
    }

    private static func isQuestion(_ name: String) -> Bool { name.utf8.starts(with: "ask.".utf8) }

    private mutating func drop(_ name: String) {
        questions.removeAll { $0.name.utf8.elementsEqual(name.utf8) }
    }

    private mutating func read(_ name: String) {
        drop(name)
        let file = path + "/" + name
        guard questions.count < Self.mostQuestions else {
            if !hasFailed { report(file + ": not answered: there are " + String(Self.mostQuestions) + " before it") }
            hasFailed = true
            return
        }
        do throws(SystemError) {
            let contents = try readRegularFile(file, limit: AskFile.largestFile)
            do throws(AskFile.Problem) {
                let ask = try AskFile(contents)
                if let complaint = ask.complaint { report(file + ": " + complaint) }
                guard ask.socket.utf8.count <= DatagramSocket.longestPath else {
                    return report(file + ": not answered: the path in Socket= is too long")
                }
                if let question = Question(name, ask), !question.isOver { questions.append(question) }
            } catch {
                report(file + ": not answered: \(error)")
            }
        } catch {
            // Answered or withdrawn since we were told of it.
            if !error.isNoSuchFile { report("not answered: \(error)") }
        }
    }
}
