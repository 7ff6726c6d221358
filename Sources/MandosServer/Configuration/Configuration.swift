public import MandosCore
public import MandosFormats
import POSIXKit

/// The contents of the configuration directory: mandos.conf, clients.conf and clients.d/*.conf.
public struct Configuration: Sendable {
    public let server: ServerSettings
    public let clients: [ClientSettings]
    /// `[DEFAULT]` of clients.conf, if there is one.
    public let defaults: [ConfigFile.Section]
    /// Problems that do not prevent a start.
    public let warnings: [ConfigProblem]

    /// Reads all files of `directory`, or reports all problems in them.
    ///
    /// The `[DEFAULT]` of clients.conf applies to all clients; that of a file in clients.d applies to the clients in that
    /// file and takes precedence there.
    /// Source: mandos.conf(5), mandos-clients.conf(5); clients.d is ours.
    public static func load(directory: String) throws(ConfigProblems) -> Configuration {
        for _ in 0..<maximumReads {
            var files = FilesOnDisk()
            let result = Result { () throws(ConfigProblems) in try load(directory: directory, from: &files) }
            if !files.haveChanged { return try result.get() }
        }
        throw changing(directory)
    }

    /// How often the files are read if they change meanwhile.
    static let maximumReads = 5

    /// The files changed at each of ``maximumReads``.
    static func changing(_ directory: String) -> ConfigProblems {
        let message = "its files change while they are read; try again when that is over"
        return ConfigProblems(problems: [ConfigProblem(path: directory, message: message, isReadError: true)])
    }

    static func load(
        directory: String, from files: inout some ConfigurationFiles
    ) throws(ConfigProblems) -> Configuration {
        var loader = Loader(files: files)
        defer { files = loader.files }
        let server = loader.serverSettings(path: directory + "/mandos.conf")
        loader.readClients(directory: directory)
        if !loader.problems.isEmpty { throw ConfigProblems(problems: loader.problems) }
        return Configuration(
            server: server, clients: loader.clients, defaults: loader.defaults, warnings: loader.warnings)
    }
}

private struct Loader<Files: ConfigurationFiles> {
    var files: Files
    var clients: [ClientSettings] = []
    var defaults: [ConfigFile.Section] = []
    var problems: [ConfigProblem] = []
    var warnings: [ConfigProblem] = []
    private var placeOfName: [String: Place] = [:]
    private var placeOfKey: [KeyID: Place] = [:]
    /// Where `[DEFAULT]` sets an interval or timeout that a warning was about: one warning is enough for all clients.
    private var warnedDefaults: Set<String> = []

    init(files: Files) { self.files = files }

    /// The place where a section begins; keeping the section itself, with its secret, would take too much memory.
    private struct Place {
        let name: String
        let path: String
        let line: Int

        init(_ section: ConfigFile.Section) { (name, path, line) = (section.name, section.path, section.line) }
    }

    mutating func serverSettings(path: String) -> ServerSettings {
        guard let file = parse(path, isRequired: false, holdsSecrets: false) else { return ServerSettings() }
        for section in file.sections {
            warnings.append(section.problem(nil, "ignored: mandos.conf has the section [DEFAULT] only"))
        }
        let scope = ConfigScope(section: file.defaults, defaults: [])
        warnings += OptionSpelling.warnings(
            for: file.defaults, known: ServerSettings.optionNames, referenced: { scope.referencedNames })
        do throws(ConfigProblems) {
            return try ServerSettings.read(file.defaults)
        } catch {
            problems += error.problems
            return ServerSettings()
        }
    }

    mutating func readClients(directory: String) {
        let additions = fileNames(in: directory + "/clients.d").map { directory + "/clients.d/" + $0 }
        if let main = parse(directory + "/clients.conf", isRequired: additions.isEmpty, holdsSecrets: true) {
            defaults = [main.defaults]
            readSections(of: main, defaults: defaults)
        }
        for path in additions {
            guard let file = parse(path, isRequired: true, holdsSecrets: true) else { continue }
            readSections(of: file, defaults: [file.defaults] + defaults)
        }
        if clients.isEmpty && problems.isEmpty {
            let message = "no client is defined; mandos-keygen --password on a client prints its section"
            warnings.append(ConfigProblem(path: directory + "/clients.conf", message: message))
        }
    }

    private mutating func readSections(of file: consuming ConfigFile, defaults: [ConfigFile.Section]) {
        let hasUnknownDefaults = file.defaults.options.contains { !ClientSettings.optionNames.contains($0.name) }
        var referenced: Set<String> = []
        // Frees each section once it is read: many sections take more memory than the settings made from them.
        var sections = Array(file.takeSections().reversed())
        while let section = sections.popLast() {
            let scope = ConfigScope(section: section, defaults: defaults)
            if hasUnknownDefaults { referenced.formUnion(scope.referencedNames) }
            warnings += OptionSpelling.warnings(for: section, known: ClientSettings.optionNames) {
                scope.referencedNames
            }
            do throws(ConfigProblems) {
                let client = try ClientSettings.read(scope, readFile: { readSecret($0) })
                add(client, section: section)
                warnOfInterval(client, scope)
            } catch {
                problems += error.problems
            }
        }
        warnings += OptionSpelling.warnings(for: file.defaults, known: ClientSettings.optionNames) { referenced }
    }

    private mutating func add(_ client: ClientSettings, section: ConfigFile.Section) {
        if let other = placeOfName.updateValue(Place(section), forKey: client.name) {
            problems.append(
                section.problem(nil, "is here twice: also at \(other.path):\(other.line); rename or remove one"))
        }
        if let keyID = client.keyID {
            if let other = placeOfKey.updateValue(Place(section), forKey: keyID) {
                let place = "[\(other.name)] at \(other.path):\(other.line)"
                let message = "is also the key ID of \(place); every client needs a key of its own"
                problems.append(section.problem(section["key_id"], message))
            }
        } else {
            let message =
                "has a fingerprint but no key_id, so it can never get its secret; mandos-keygen prints the key_id"
            warnings.append(section.problem(nil, message))
        }
        clients.append(client)
    }

    private mutating func warnOfInterval(_ client: ClientSettings, _ scope: ConfigScope) {
        guard client.interval >= client.timeout else { return }
        let options = ["interval", "timeout"]
        let name =
            options.first { scope.section[$0] != nil } ?? options.first { scope.option($0) != nil } ?? "interval"
        let warning = scope.problem(
            name, "interval must be shorter than timeout, or clients are disabled between two checks")
        let isOfSection = scope.section[name] != nil
        if isOfSection || warnedDefaults.insert("\(warning.path):\(warning.line)").inserted { warnings.append(warning) }
    }

    private mutating func parse(_ path: String, isRequired: Bool, holdsSecrets: Bool) -> ConfigFile? {
        switch files.answer(FileQuestion(kind: .configuration, path: path)) {
        case .contents(let contents, let mode):
            let file = ConfigFile.parse(contents, path: path)
            problems += file.problems
            if holdsSecrets && mode & 0o077 != 0 {
                let octal = String(mode & 0o777, radix: 8)
                let message = "is open to others (mode \(octal)); run: chmod 600 \(path)"
                warnings.append(ConfigProblem(path: path, message: message))
            }
            return file
        case .failure(let error):
            if isRequired || !error.isNoSuchFile { report(error, path) }
            return nil
        case .notRegular:
            problems.append(ConfigProblem(path: path, message: "is not a regular file"))
            return nil
        case .names: preconditionFailure("names answer a question about a directory only")
        }
    }

    private mutating func fileNames(in directory: String) -> [String] {
        switch files.answer(FileQuestion(kind: .directory, path: directory)) {
        case .names(let names): return names.filter { $0.hasSuffix(".conf") && !$0.hasPrefix(".") }.sorted()
        case .failure(let error):
            if !error.isNoSuchFile || error.isNoDirectory { report(error, directory) }
            return []
        case .contents, .notRegular: preconditionFailure("contents answer a question about a file only")
        }
    }

    private mutating func report(_ error: SystemError, _ path: String) {
        problems.append(ConfigProblem(path: path, message: error.reason, isReadError: true))
    }

    /// Source: mandos-clients.conf(5) `secfile`.
    private mutating func readSecret(_ path: String) -> Result<[UInt8], FileProblem> {
        switch files.answer(FileQuestion(kind: .secret, path: path)) {
        case .contents(let contents, _): .success(contents)
        case .failure(let error): .failure(FileProblem(reason: "\(error)", isReadError: true))
        case .notRegular: .failure(FileProblem(reason: "\(path) is not a regular file"))
        case .names: preconditionFailure("names answer a question about a directory only")
        }
    }
}
