import MandosFormats

/// What is known of clients that are not there at the moment, and must not come back with more rights than they had.
public struct FormerClients {
    private var byName: [String: ClientRecord] = [:]
    private var byKey: [KeyID: ClientRecord] = [:]

    public init(_ records: some Sequence<ClientRecord>) {
        for record in records where record.until == nil {
            byName[record.name] = record
            if let keyID = record.keyID { byKey[keyID] = record }
        }
    }

    /// By its name, or by its key, under whatever name it had that.
    public func record(of settings: ClientSettings) -> ClientRecord? {
        byName[settings.name] ?? settings.keyID.flatMap { byKey[$0] }
    }
}
