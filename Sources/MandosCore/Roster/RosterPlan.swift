import MandosFormats

/// The changes of a start or a reload, decided from the configuration and the known clients before anything is saved.
///
/// Source: mandos(8), PERSISTENT STATE; reloading and added clients are ours.
public struct RosterPlan {
    /// Clients that are new, restored or changed. At a start these are all clients.
    public internal(set) var entries: [Roster.Entry] = []
    /// Clients that are served now and have left the configuration.
    public internal(set) var leaving: [String] = []
    /// Clients that will be absent.
    public internal(set) var absent = AbsentClients()
    /// Clients that an operator added and that do not fit beside the configuration files any more.
    public internal(set) var misfits: [(name: String, problems: ConfigProblems)] = []
    /// Messages for operators, once the plan is carried out.
    public internal(set) var notices: [Notice] = []
    /// Records to save, in one transaction with removing those of ``forgotten``.
    public internal(set) var records: [ClientRecord] = []
    /// Names whose records are deleted.
    public internal(set) var forgotten: [String] = []

    public enum Notice: Equatable, Sendable {
        /// Disabled at the start: its lease ended, or the file disabled it, while the server was down.
        case disabledMeanwhile(name: String)
        /// Not served: an operator removed it, but the configuration files still have it.
        case stillRemoved(name: String)
        /// Disabled, as it was when it left the configuration files.
        case stillDisabled(name: String)
    }

    /// The state of a client before the plan is made.
    enum Known {
        case serving(Roster.Entry)
        /// Saved before the server was started.
        case saved(ClientRecord)
        case departed(ClientRecord)
        case removed(ClientRecord)
        /// Added by an operator, and does not fit beside the configuration files.
        case leftOut(ClientRecord)

        var name: String {
            switch self {
            case .serving(let entry): entry.name
            case .saved(let record), .leftOut(let record), .departed(let record), .removed(let record): record.name
            }
        }

        var keyID: KeyID? {
            switch self {
            case .serving(let entry): entry.client.settings.keyID
            case .saved(let record), .leftOut(let record), .departed(let record), .removed(let record): record.keyID
            }
        }

        /// Whether the client is enabled, or may be checked once more.
        func hasRights(_ circumstances: Roster.Circumstances) -> Bool {
            switch self {
            case .serving(let entry): entry.client.isEnabled(at: circumstances.now.boot)
            case .saved(let record), .leftOut(let record):
                !record.isOver(bootID: circumstances.bootID, at: circumstances.now)
            case .departed, .removed: false
            }
        }

        /// The record for the client's return, perhaps under another name: what the files said about the old one does not count,
        /// so it is as enabled or disabled as it is now.
        func recordOfReturn(_ circumstances: Roster.Circumstances) -> ClientRecord {
            var record =
                switch self {
                case .serving(let entry): entry.record(circumstances)
                case .saved(let record), .leftOut(let record), .departed(let record), .removed(let record): record
                }
            record.wasEnabledInFile = true
            if !hasRights(circumstances) { record.until = nil }
            return record
        }

        /// The record of a client that is absent or not enabled; nil if the client may come back with its rights.
        func withoutRights(_ circumstances: Roster.Circumstances) -> ClientRecord? {
            hasRights(circumstances) ? nil : recordOfReturn(circumstances)
        }

        /// The end of its key's time that has passed once; see ``Client/passedKeyExpiry``.
        var passedKeyExpiry: Timestamp? {
            switch self {
            case .serving(let entry): entry.client.passedKeyExpiry
            case .saved(let record), .leftOut(let record), .departed(let record), .removed(let record):
                record.passedKeyExpiry
            }
        }

        /// The end of a denial that holds now.
        func denial(_ circumstances: Roster.Circumstances) -> BootTime? {
            let now = circumstances.now
            switch self {
            case .serving(let entry):
                guard case .denied(let until) = entry.client.approval, now.boot < until else { return nil }
                return until
            case .saved(let record), .leftOut(let record), .departed(let record), .removed(let record):
                guard let remaining = record.deniedUntil?.remaining(bootID: circumstances.bootID, at: now),
                    remaining > .zero
                else { return nil }
                return now.boot + remaining
            }
        }
    }
}
