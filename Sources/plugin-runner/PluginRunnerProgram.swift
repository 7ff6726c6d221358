import InitramfsKit
import MandosFormats
import POSIXKit

/// plugin-runner(8mandos): runs all plugins at once, and prints the password that the first one gets.
@main struct PluginRunnerProgram {
    private static let program: StaticString = "plugin-runner"

    static func main() {
        Hardening.protectProcess()
        let settings = Settings.read(program)
        ProgramEnding.of(program) { (stop) throws(SystemError) in
            let terminal = TerminalState.ofSession()
            let ending = run(settings, until: stop)
            terminal?.restore()
            return ending
        }
    }

    private static func run(_ settings: Settings, until stop: borrowing StopSignals) -> ProgramEnding {
        let voices = settings.debug ? PluginVoices() : nil
        let report: (String) -> Void = { if settings.debug { complain(program, $0) } }
        var settings = settings
        var volume = VolumeRecord.ofEnvironment(report: report)
        let hasRefused = volume?.hasRefused == true
        if hasRefused {
            complain(program, "this volume has refused a stored password; it has to be typed")
            // Its password would not be used; so it need not bring up the network.
            settings.plugins.setDisabled("mandos-client", true)
        }
        // What plugins leave behind becomes ours to end.
        Orphans.adopt()
        let plugins = plugins(settings, takesStoredPassword: !hasRefused, voices, report)
        becomeUnprivileged(settings)
        for plugin in plugins { plugin.start(at: .now()) }
        let prompt = Plugin(
            name: "(console)", voices: nil, report: report, pauses: pausesOfPrompt,
            // Without input, such as a terminal, there is never a person to ask.
            isRepeated: { $0 != .exit(status: ExitStatus.noInput.rawValue) }
        ) { () throws(SystemError) in
            try .fork { ProgramEnding.of(program) { (stop) throws(SystemError) in ask(until: stop) } }
        }
        let run = PluginRun(plugins, prompt: prompt, voices: voices)
        defer { run.endAll() }
        switch run.firstSuccess(until: stop) {
        case .password(let password, let isStored):
            if isStored { volume?.hasGotStoredPassword(report: report) }
            return PasswordOutput.write(password, program, until: stop)
        case .stopped(let signal): return .signal(signal)
        case .nothing(hasAsked: true): return withoutPassword()
        case .nothing(hasAsked: false):
            voices?.finish()
            report("no plugin is left; asking on the console")
            let ending = ask(until: stop)
            if case .exit(.noInput) = ending { return withoutPassword() }
            return ending
        }
    }

    /// Pauses before our prompt is repeated after a failure, as long as other plugins go on: a person who mistypes waits
    /// for a second, and a console in use by another program is looked at again.
    private static var pausesOfPrompt: Backoff { Backoff(first: 1000, longest: 10_000, most: .max) }

    private static func withoutPassword() -> ProgramEnding {
        complain(program, "no plugin has got a password, and there is nobody to ask")
        return .exit(.unavailable)
    }

    /// Opens the plugins while we are root: their directory may be accessible to root alone.
    private static func plugins(
        _ settings: Settings, takesStoredPassword: Bool, _ voices: PluginVoices?, _ report: @escaping (String) -> Void
    ) -> [Plugin] {
        let names: [String]
        do throws(SystemError) {
            names = try namesOfFiles(inReadable: settings.pluginDirectory).sortedByBytes()
        } catch {
            complain(program, "\(error); there are no plugins")
            return []
        }
        var plugins: [Plugin] = []
        for name in names {
            if settings.plugins.isDisabled(name) {
                report("plugin \(name) is disabled")
            } else if !PluginName.isOne(name) {
                report("\(name) is passed over: not a name of a plugin")
            } else if let file = PluginFile(settings.pluginDirectory + "/" + name) {
                let arguments = [name] + settings.plugins.options(of: name)
                let environment = settings.environment(of: name)
                let plugin = Plugin(
                    name: name, voices: voices, report: report, takesStoredPassword: takesStoredPassword
                ) { () throws(SystemError) in
                    try file.start(arguments: arguments, environment: environment, capturesErrors: voices != nil)
                }
                plugins.append(plugin)
            } else {
                report("\(name) is passed over: not an executable file")
            }
        }
        return plugins
    }

    private static func becomeUnprivileged(_ settings: Settings) {
        guard Hardening.isRoot else { return }
        // Plugins that run as root, or with its groups, are better than a machine that does not start.
        Hardening.becomeAsFarAsPossible(user: settings.user, group: settings.group) { complain(program, $0) }
    }

    /// Asks at the terminal of our session, or else on standard error and standard input.
    private static func askSomebody(
        until stop: borrowing StopSignals
    ) throws(SystemError) -> PasswordQuestion.Outcome {
        if let terminal = try? FileDescriptor.openTerminal() {
            return try PasswordQuestion.ask("Password: ", on: terminal.number, reading: terminal.number, until: stop)
        }
        return try PasswordQuestion.ask(
            "Password: ", on: ExitStatus.standardError, reading: ExitStatus.standardInput, until: stop)
    }

    /// Asks for the password, and prints it; exits with `EX_NOINPUT` if there is nobody to ask.
    ///
    /// Source: plugin-runner(8mandos), FALLBACK.
    private static func ask(until stop: borrowing StopSignals) -> ProgramEnding {
        do throws(SystemError) {
            switch try askSomebody(until: stop) {
            case .password(let password): return PasswordOutput.write(password, program, until: stop)
            case .stopped(let signal): return .signal(signal)
            case .noInput: return .exit(.noInput)
            }
        } catch {
            complain(program, "\(error)")
        }
        return .exit(.unavailable)
    }
}
