import InitramfsKit
import MandosFormats

/// plugin-runner(8mandos): runs all plugins at once, and prints the password that the first one gets.
@main struct PluginRunnerProgram {
    private static let program: StaticString = "plugin-runner"

    static func main() {
        Hardening.protectProcess()
        let settings = Settings.read(program)
        ProgramEnding.of(program) { (stop) throws(SystemError) in run(settings, until: stop) }
    }

    private static func run(_ settings: Settings, until stop: borrowing StopSignals) -> ProgramEnding {
        let plugins = plugins(settings)
        becomeUnprivileged(settings)
        for plugin in plugins { plugin.start() }
        let run = PluginRun(plugins)
        defer { run.endAll() }
        switch run.firstSuccess(until: stop) {
        case .password(let password): return PasswordOutput.write(password, program, until: stop)
        case .stopped(let signal): return .signal(signal)
        case .nothing:
            if settings.debug { complain(program, "no plugin is left; asking on the console") }
            return ask(until: stop)
        }
    }

    /// Opened while we still may: their directory can be root's alone.
    private static func plugins(_ settings: Settings) -> [Plugin] {
        let report: (String) -> Void = { if settings.debug { complain(program, $0) } }
        let voices = settings.debug ? PluginVoices() : nil
        let names: [String]
        do throws(SystemError) {
            names = try namesOfFiles(inReadable: settings.pluginDirectory)
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
                plugins.append(
                    Plugin(
                        name: name, file: file, options: settings.plugins.options(of: name),
                        environment: settings.environment(of: name), voices: voices, report: report))
            } else {
                report("\(name) is passed over: not an executable file")
            }
        }
        return plugins
    }

    private static func becomeUnprivileged(_ settings: Settings) {
        guard Hardening.isRoot else { return }
        do throws(SystemError) {
            try Hardening.become(user: settings.user, group: settings.group, isDroppingGroups: true)
        } catch {
            // Plugins that run as root are better than a machine that does not start.
            complain(program, "\(error)")
        }
    }

    /// At the terminal of our session, if there is one.
    private static func askSomebody(
        until stop: borrowing StopSignals
    ) throws(SystemError) -> PasswordQuestion.Outcome {
        if let terminal = try? FileDescriptor.openTerminal() {
            return try PasswordQuestion.ask("Password: ", on: terminal.number, reading: terminal.number, until: stop)
        }
        return try PasswordQuestion.ask(
            "Password: ", on: ExitStatus.standardError, reading: ExitStatus.standardInput, until: stop)
    }

    /// plugin-runner(8mandos), FALLBACK.
    private static func ask(until stop: borrowing StopSignals) -> ProgramEnding {
        do throws(SystemError) {
            switch try askSomebody(until: stop) {
            case .password(let password): return PasswordOutput.write(password, program, until: stop)
            case .stopped(let signal): return .signal(signal)
            case .noInput: complain(program, "there is nobody to ask; no password")
            }
        } catch {
            complain(program, "\(error)")
        }
        return .exit(.unavailable)
    }
}
