import InitramfsKit
import MandosFormats
import POSIXKit

/// The settings from the configuration file and the command line of plugin-runner(8mandos).
///
/// Invalid options are reported and ignored: they must not keep the program from asking on the console.
struct Settings {
    private enum Option: Equatable, Sendable {
        case globalEnvironment, environmentFor, globalOptions, optionsFor, disable, enable
        case groupID, userID, pluginDirectory, pluginHelperDirectory, configurationFile, debug
    }

    var plugins = PluginOptions()
    private(set) var group: UInt32 = 65534
    private(set) var user: UInt32 = 65534
    private(set) var pluginDirectory = "/lib/mandos/plugins.d"
    private(set) var debug = false
    private var pluginHelperDirectory = "/lib/mandos/plugin-helpers"
    private var configurationFile = "/conf/conf.d/mandos/plugin-runner.conf"

    /// Maximum size of the configuration file, in bytes.
    private static let largestFile = 1 << 20

    private static let reader = CommandLineReader<Option>(
        program: "plugin-runner",
        summary: "Run plugins that each try to get a password, and print the first that one gets.",
        options: [
            CommandLineOption(
                .globalEnvironment, "global-env", short: "G", value: "ENV=VALUE", "Set a variable for all plugins."),
            CommandLineOption(
                .environmentFor, "env-for", short: "E", value: "PLUGIN:ENV=VALUE", "Set a variable for one plugin."),
            CommandLineOption(
                .globalOptions, "global-options", short: "g", value: "OPTION[,OPTION...]", "Options for all plugins."),
            CommandLineOption(
                .optionsFor, "options-for", short: "o", value: "PLUGIN:OPTION[,OPTION...]", "Options for one plugin."),
            CommandLineOption(.disable, "disable", short: "d", value: "PLUGIN", "Do not run this plugin."),
            CommandLineOption(.enable, "enable", short: "e", value: "PLUGIN", "Run it after all."),
            CommandLineOption(.groupID, "groupid", value: "ID", "The group that plugins run as. Default: 65534."),
            CommandLineOption(.userID, "userid", value: "ID", "The user that plugins run as. Default: 65534."),
            CommandLineOption(
                .pluginDirectory, "plugin-dir", value: "DIRECTORY",
                "Where plugins are. Default: /lib/mandos/plugins.d."),
            CommandLineOption(
                .pluginHelperDirectory, "plugin-helper-dir", value: "DIRECTORY",
                "What plugins are told of where their helpers are. Default: /lib/mandos/plugin-helpers."),
            CommandLineOption(
                .configurationFile, "config-file", value: "FILE",
                "A file of more options. Default: /conf/conf.d/mandos/plugin-runner.conf."),
            CommandLineOption(.debug, "debug", "Tell on standard error what happens, and which plugin says what."),
        ])

    /// Reads the configuration file, then the command line, which overrides it.
    static func read(_ program: StaticString) -> Settings {
        var settings = Settings()
        let commandLine = reader.readTolerantly(version: mandosVersion)
        // As a keyscript, we get the third field of crypttab(5), which is empty for "none".
        for operand in commandLine.operands where !operand.utf8.isEmpty {
            complain(program, "unexpected argument \"\(operand)\" is ignored")
        }
        for case (.configurationFile, let file) in commandLine.options { settings.configurationFile = file }
        do throws(SystemError) {
            let words = ArgumentFile.words(of: try readRegularFile(settings.configurationFile, limit: largestFile))
            let contents = reader.read(fileContents: words)
            for operand in contents.operands {
                complain(program, "\(settings.configurationFile): \"\(operand)\" is no option, and is ignored")
            }
            settings.apply(contents.options, program)
        } catch {
            if !error.isNoSuchFile { complain(program, "\(error); its options are not used") }
        }
        settings.apply(commandLine.options, program)
        if KernelCommandLine.mandosOptions.contains(where: { $0.utf8.elementsEqual("debug".utf8) }) {
            settings.debug = true
            for plugin in ["mandos-client", "password-prompt", "plymouth"] {
                try? settings.plugins.addOptions(for: plugin + ":--debug")
            }
        }
        return settings
    }

    private mutating func apply(_ options: [(id: Option, value: String)], _ program: StaticString) {
        for (option, value) in options {
            do throws(PluginOptions.Problem) {
                try apply(option, value)
            } catch {
                complain(program, "\"\(value)\": \(error.description); it is ignored")
            }
        }
    }

    private mutating func apply(_ option: Option, _ value: String) throws(PluginOptions.Problem) {
        switch option {
        case .globalEnvironment: try plugins.addGlobalEnvironment(value)
        case .environmentFor: try plugins.addEnvironment(for: value)
        case .globalOptions: plugins.addGlobalOptions(value)
        case .optionsFor: try plugins.addOptions(for: value)
        case .disable: plugins.setDisabled(value, true)
        case .enable: plugins.setDisabled(value, false)
        case .groupID: group = try Self.identity(value)
        case .userID: user = try Self.identity(value)
        case .pluginDirectory: pluginDirectory = value
        case .pluginHelperDirectory: pluginHelperDirectory = value
        case .configurationFile: break
        case .debug: debug = true
        }
    }

    private static func identity(_ value: String) throws(PluginOptions.Problem) -> UInt32 {
        // To the kernel, the largest number means "unchanged".
        guard let number = UInt32(value), number < UInt32.max else {
            throw PluginOptions.Problem(description: "not the number of a user or group")
        }
        return number
    }

    /// The environment of a plugin.
    func environment(of plugin: String) -> [String] {
        plugins.environment(
            of: plugin,
            inherited: ProcessEnvironment.settings + [
                "MANDOSPLUGINHELPERDIR=" + pluginHelperDirectory,
                PluginRole.variable + "=\(PluginProcess.roleDescriptor)",
            ])
    }
}
