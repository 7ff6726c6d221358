public import MandosFormats

/// A client that an operator added while the server ran: a section like one of clients.conf, kept with the state.
public enum AddedClient {
    /// Reads the section, with the same errors as in clients.conf; `defaults` are those of clients.conf.
    public static func read(_ text: String, defaults: [ConfigFile.Section]) throws(ConfigProblems) -> ClientSettings {
        let file = ConfigFile.parse(Array(text.utf8), path: "the new client")
        if !file.problems.isEmpty { throw ConfigProblems(problems: file.problems) }
        guard file.sections.count == 1, file.defaults.options.isEmpty, let section = file.sections.first else {
            let message = "has to be one section, as mandos-keygen --password prints it, and nothing else"
            throw ConfigProblems(problems: [ConfigProblem(path: file.path, message: message)])
        }
        let scope = ConfigScope(section: section, defaults: defaults)
        // The server may read less than root, who writes clients.conf.
        return try ClientSettings.read(scope) { _ in
            .failure(FileProblem(reason: "a client that is added needs its secret itself: secret = …"))
        }
    }
}

/// The clients that operators added, as far as they can be beside those of the configuration files.
public struct AddedClients {
    public private(set) var clients: [ClientSettings] = []
    public private(set) var sections: [String: String] = [:]
    /// Those that do not fit any more, and why.
    public private(set) var misfits: [(name: String, problems: ConfigProblems)] = []

    /// Reads their sections. What the files say wins over what was added.
    public init(
        _ sections: [(name: String, text: String)], beside configured: [ClientSettings],
        defaults: [ConfigFile.Section]
    ) {
        if sections.isEmpty { return }
        let names = Set(configured.map(\.name))
        let keys = Set(configured.compactMap(\.keyID))
        for (name, text) in sections where !names.contains(name) {
            do throws(ConfigProblems) {
                let client = try AddedClient.read(text, defaults: defaults)
                if let keyID = client.keyID, keys.contains(keyID) {
                    let message = "another client in the configuration files has its key ID"
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
