import FoundationEssentials
import GRDB
import POSIXKit

/// A problem with the saved state, with advice.
public struct StateStoreError: Error, CustomStringConvertible {
    public let description: String
    /// Whether another process has the state.
    var isInUse = false

    public init(_ description: String) { self.description = description }
}

extension StateStoreError {
    private static let advice =
        "restore a backup with --restore FILE, or put the state aside with --no-restore, which enables every client that"
        + " clients.conf does not disable"

    static func inUse(_ path: String) -> Self {
        var error = Self("\(path) is in use by another process; is there a server already?")
        error.isInUse = true
        return error
    }

    static func foreign(_ path: String) -> Self {
        .init("\(path) is a database of another program; choose another --statedir")
    }

    static func replaced(_ path: String) -> Self {
        .init("\(path) was deleted or replaced while the server runs; restart it")
    }

    /// There was a state, and it is gone.
    static func lost(_ path: String) -> Self {
        .init("\(path) is missing or empty, but clients were saved there; \(advice)")
    }

    static func outdated(_ path: String) -> Self {
        .init(
            "\(path) is not the state that was saved last, but an older or another one; if that is meant, run"
                + " mandos --restore \(path); otherwise \(advice)")
    }

    static func unmarked(_ path: String) -> Self {
        .init(
            "the mark beside \(path) is missing, so nobody knows whether that is the state that was saved last; if it is, or"
                + " if it is a backup that is meant to be used, run mandos --restore \(path)")
    }

    static func damagedMark(_ path: String) -> Self {
        .init("\(path) is damaged, so nobody knows whether the saved state is complete; \(advice)")
    }

    /// Explains an error of SQLite or the system.
    init(_ error: any Error, _ action: String, _ path: String) {
        switch error {
        case let error as StateStoreError: self = error
        case let error as DatabaseError where [.SQLITE_CORRUPT, .SQLITE_NOTADB].contains(error.resultCode):
            self.init("\(path) is damaged: \(error.message ?? "no reason given"); \(Self.advice)")
        case let error as DatabaseError where error.resultCode == .SQLITE_BUSY: self = .inUse(path)
        case is DecodingError: self.init("\(path) is damaged: it has overrides that cannot be read; \(Self.advice)")
        case let error as DatabaseError: self.init("\(action) \(path): \(error.message ?? "\(error.resultCode)")")
        default: self.init("\(action) \(path): \(error)")
        }
    }
}
