/// The options and environment variables of each plugin, and which plugins are disabled.
///
/// Source: plugin-runner(8mandos), OPTIONS.
struct PluginOptions {
    private struct Own {
        let plugin: String
        var options: [String] = []
        var environment: [String] = []
        var isDisabled = false
    }

    private var globalOptions: [String] = []
    private var globalEnvironment: [String] = []
    private var own: [Own] = []

    /// Why an option's value is invalid.
    struct Problem: Error {
        let description: String
    }

    /// `list` is comma-separated.
    mutating func addGlobalOptions(_ list: String) { globalOptions += Self.split(list) }

    /// `value` is `PLUGIN:OPTIONS`.
    mutating func addOptions(for value: String) throws(Problem) {
        let (plugin, list) = try Self.pair(value)
        change(plugin) { $0.options += Self.split(list) }
    }

    /// `setting` is `NAME=value`.
    mutating func addGlobalEnvironment(_ setting: String) throws(Problem) {
        try Self.checkSetting(setting)
        globalEnvironment.append(setting)
    }

    /// `value` is `PLUGIN:NAME=value`.
    mutating func addEnvironment(for value: String) throws(Problem) {
        let (plugin, setting) = try Self.pair(value)
        try Self.checkSetting(setting)
        change(plugin) { $0.environment.append(setting) }
    }

    mutating func setDisabled(_ plugin: String, _ isDisabled: Bool) { change(plugin) { $0.isDisabled = isDisabled } }

    func isDisabled(_ plugin: String) -> Bool { own(of: plugin)?.isDisabled ?? false }

    /// The plugin's arguments after its name: its own options, then the global ones.
    func options(of plugin: String) -> [String] { (own(of: plugin)?.options ?? []) + globalOptions }

    /// The plugin's environment: its own settings override the global ones, and those the `inherited` ones.
    func environment(of plugin: String, inherited: [String]) -> [String] {
        var environment: [String] = []
        // The last setting of a name wins.
        for setting in (inherited + globalEnvironment + (own(of: plugin)?.environment ?? [])).reversed()
        where !environment.contains(where: { Self.name(of: $0).elementsEqual(Self.name(of: setting)) }) {
            environment.append(setting)
        }
        return environment.reversed()
    }

    private func own(of plugin: String) -> Own? { own.first { $0.plugin.utf8.elementsEqual(plugin.utf8) } }

    private mutating func change(_ plugin: String, _ body: (inout Own) -> Void) {
        if let index = own.firstIndex(where: { $0.plugin.utf8.elementsEqual(plugin.utf8) }) {
            body(&own[index])
        } else {
            var new = Own(plugin: plugin)
            body(&new)
            own.append(new)
        }
    }

    private static func name(of setting: String) -> Substring.UTF8View {
        setting.utf8.prefix { $0 != UInt8(ascii: "=") }
    }

    private static func checkSetting(_ setting: String) throws(Problem) {
        guard let equals = setting.utf8.firstIndex(of: UInt8(ascii: "=")), equals != setting.utf8.startIndex else {
            throw Problem(description: "there is no NAME=VALUE")
        }
    }

    private static func pair(_ value: String) throws(Problem) -> (String, String) {
        guard let colon = value.utf8.firstIndex(of: UInt8(ascii: ":")), colon != value.utf8.startIndex else {
            throw Problem(description: "there is no PLUGIN: before it")
        }
        return (String(value[..<colon]), String(value[value.utf8.index(after: colon)...]))
    }

    /// Splits at commas. An option may be empty, as the value of the option before it; an empty list has no options.
    private static func split(_ list: String) -> [String] {
        if list.utf8.isEmpty { return [] }
        return list.utf8.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false).map {
            String(Substring($0))
        }
    }
}
