public import MandosFormats

/// A client that an operator added while the server was running: a section as in clients.conf, saved with the state.
public enum AddedClient {
    /// Reads the section, with the same errors as in clients.conf; `defaults` are those of clients.conf.
    public static func read(_ text: String, defaults: [ConfigFile.Section]) throws(ConfigProblems) -> ClientSettings {
        let file = ConfigFile.parse(Array(text.utf8), path: "the new client")
        if !file.problems.isEmpty { throw ConfigProblems(problems: file.problems) }
        guard file.sections.count == 1, file.defaults.options.isEmpty, let section = file.sections.first else {
            let message = "must be exactly one section, as mandos-keygen --password prints it"
            throw ConfigProblems(problems: [ConfigProblem(path: file.path, message: message)])
        }
        let scope = ConfigScope(section: section, defaults: defaults)
        // Root may read files for clients.conf that the server may not read.
        return try ClientSettings.read(scope) { _ in
            .failure(FileProblem(reason: "a client that is added must have its secret in the section: secret = …"))
        }
    }
}

/// The clients that operators added, except those that conflict with the configuration files.
public struct AddedClients {
    public private(set) var clients: [ClientSettings] = []
    public private(set) var sections: [String: String] = [:]
    /// Clients that are invalid or in conflict now, and why.
    public private(set) var misfits: [(name: String, problems: ConfigProblems)] = []

    /// Reads the sections. A section of the same name in the files wins.
    public init(
        _ sections: [(name: String, text: String)], beside configured: [ClientSettings],
        defaults: [ConfigFile.Section]
    ) {
        if sections.isEmpty { return }
        let names = Set(configured.map(\.name))
        let nameOfKey = Dictionary(
            configured.compactMap { client in client.keyID.map { ($0, client.name) } },
            uniquingKeysWith: { first, _ in first })
        for (name, text) in sections where !names.contains(name) {
            do throws(ConfigProblems) {
                let client = try AddedClient.read(text, defaults: defaults)
                if let other = client.keyID.flatMap({ nameOfKey[$0] }) {
                    let message =
                        "[\(other)] in the configuration files has its key ID; it is hidden as long as that is so"
                    throw ConfigProblems(problems: [ConfigProblem(path: "[\(name)]", message: message)])
                }
                clients.append(client)
                self.sections[name] = text
            } catch {
                misfits.append((name, error))
            }
        }
    }
}
