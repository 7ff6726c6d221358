/// The failure of mandos-keygen, described for its user, or a signal that asked it to stop.
enum KeygenError: Error, CustomStringConvertible {
    case failed(String)
    case interrupted(signal: Int32)

    init(_ description: String) { self = .failed(description) }

    var description: String {
        switch self {
        case .failed(let description): description
        case .interrupted: "interrupted"
        }
    }

    /// Runs `body`, and throws the error of a library as one of ours.
    @discardableResult
    static func wrap<Result: ~Copyable, Failure: Error & CustomStringConvertible>(
        _ body: () throws(Failure) -> Result
    ) throws(KeygenError) -> Result {
        do throws(Failure) { return try body() } catch { throw KeygenError(error.description) }
    }
}
