import InitramfsKit
import MandosFormats
import POSIXKit

/// The unanswered questions in the agent directory.
///
/// A question for a volume's password is answered once. If it comes again, the volume has refused the password, and the
/// question is left to people, as are all other questions. Source: https://systemd.io/PASSWORD_AGENTS/.
struct QuestionDirectory: ~Copyable {
    /// Maximum number of questions at once; there is usually one for each disk.
    private static let mostQuestions = 256

    private let path: String
    private let watch: DirectoryWatch
    private let report: (String) -> Void
    private var questions: [Question] = []
    /// Whether the directory has files of questions, even of such that cannot be answered.
    private var hasFiles = false
    private var isGone = false
    private var answered: AnsweredQuestions
    /// Whether a question was given up: its socket failed, or there were too many questions.
    private(set) var hasFailed = false

    /// - Throws: if there is no such directory, or it cannot be watched.
    static func open(
        _ path: String, answered: consuming AnsweredQuestions, report: @escaping (String) -> Void
    ) throws(SystemError) -> QuestionDirectory {
        // Watched before it is read: a file that is written meanwhile is then seen twice, rather than missed.
        let watch = try DirectoryWatch.begin(path)
        return QuestionDirectory(path: path, watch: watch, report: report, answered: answered)
    }

    /// Whether no question is left, not even one for people.
    var isEmpty: Bool { questions.isEmpty }

    /// Whether this program may end: it would be started again at once as long as there is a file of a question, up to the
    /// limit of systemd; and if the list of answered questions ends with it, it would answer a question twice.
    var mayBeLeft: Bool { isGone || !hasFiles && answered.isKept }

    /// Whether a question waits for our answer.
    var needsPassword: Bool {
        for question in questions where isToBeAnswered(question) { return true }
        return false
    }

    private func isToBeAnswered(_ question: Question) -> Bool {
        question.ask.isForVolume && answered.allows(question.ask.identity)
    }

    /// Reads all questions in the directory.
    ///
    /// - Returns: whether there was any question, even an invalid one.
    mutating func readAll() -> Bool {
        questions = []
        let names = namesOfFiles(in: path).filter(Self.isQuestion)
        for name in names { read(name) }
        hasFiles = !names.isEmpty
        return hasFiles
    }

    /// Drops questions that are over, and reads new ones.
    mutating func update() {
        let changes = watch.changes()
        for change in changes {
            switch change {
            case .written(let name) where Self.isQuestion(name): read(name)
            case .gone(let name): drop(name)
            case .written, .opened: break
            case .ended: isGone = true
            case .missed: _ = readAll()
            }
        }
        if !changes.isEmpty { hasFiles = namesOfFiles(in: path).contains(where: Self.isQuestion) }
        questions.removeAll { $0.isOver }
    }

    /// Answers all questions that can be answered now.
    mutating func answer(_ message: SecretBuffer) {
        var rest: [Question] = []
        for question in questions {
            guard isToBeAnswered(question) else {
                rest.append(question)
                continue
            }
            switch question.answer(message) {
            case .answered: answered.add(question.ask.identity, report: report)
            case .waiting: rest.append(question)
            case .failed(let error):
                hasFailed = true
                report("\(path)/\(question.name): \(error); whoever asks has to ask again")
            }
        }
        questions = rest
    }

    /// Waits for the events that ``update()`` and ``answer(_:)`` handle.
    func register(in set: inout PollSet) {
        set.add(watch.descriptor)
        for question in questions { question.register(in: &set, isToBeAnswered: isToBeAnswered(question)) }
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
                if let question = Question(name, ask), !question.isOver { add(question) }
            } catch {
                report(file + ": not answered: \(error)")
            }
        } catch {
            // Answered or withdrawn since the file was noticed.
            if !error.isNoSuchFile { report("not answered: \(error)") }
        }
    }

    private mutating func add(_ question: Question) {
        questions.append(question)
        if isToBeAnswered(question) { return }
        let reason =
            question.ask.isForVolume
            ? "it has had our password before (or Id= is too long)" : "not a volume's password (Id=)"
        report(path + "/" + question.name + ": left to people: " + reason)
    }
}
