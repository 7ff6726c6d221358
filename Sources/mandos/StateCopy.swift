import Glibc
import MandosCore
import MandosFormats
import MandosServer
import POSIXKit

/// `--backup` and `--restore`: copies of the saved state.
///
/// Source: ours; mandos(8), PERSISTENT STATE.
struct StateCopy {
    let configurationDirectory: String
    let options: ServerOptions

    /// Writes the saved state to a new file, and exits.
    func backUp(to path: String) -> Never {
        finish {
            let directory = try directory()
            let copy = try FileDescriptor.inMemory("backup")
            let reader = try ChildProcess.fork("the reader") {
                // The state is the Mandos user's, the new file that of the user who asks for it.
                finish {
                    try Privileges.drop(stateDirectory: nil)
                    _ = try SQLiteStateStore.backUp(directory: directory, to: copy)
                }
            }
            // It has said what is wrong.
            guard reader.waitForStatus() == .success else { ExitStatus.osError.exit() }
            let contents = try readFile("/proc/self/fd/\(copy.number)", limit: SQLiteStateStore.largestFile)
            if path == "-" {
                try writeAll(contents, to: ExitStatus.standardOutput)
            } else {
                try write(contents, toNew: path)
                complain("mandos", "\(path): \(contents.count) bytes; --restore \(path) takes it as the saved state")
            }
        }
    }

    private func write(_ contents: [UInt8], toNew path: String) throws {
        let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
        do {
            try writeAll(contents, to: file.number)
            try SystemError.check("writing \(path)", fsync(file.number))
        } catch {
            unsafe unlink(path)
            throw error
        }
    }

    /// Takes a file as the saved state, and exits.
    func restore(from path: String) -> Never {
        finish {
            let directory = try directory()
            let contents = try readFile(path == "-" ? "/dev/stdin" : path, limit: SQLiteStateStore.largestFile)
            try Privileges.drop(stateDirectory: directory)
            let old = try SQLiteStateStore.restore(contents, directory: directory)
            complain("mandos", "restored; " + (old.map { "what was there is now \($0)" } ?? "there was none before"))
        }
    }

    private func finish(_ body: () throws -> Void) -> Never {
        do {
            try body()
            ExitStatus.success.exit()
        } catch let error as ConfigProblems {
            for problem in error.problems { complain("mandos", "\(problem)") }
            ExitStatus.configuration.exit()
        } catch {
            complain("mandos", "\(error)")
            ExitStatus.osError.exit()
        }
    }

    /// As the command line or mandos.conf says.
    private func directory() throws(ConfigProblems) -> String {
        if let directory = options.stateDirectory { return options.absolute(directory) }
        return options.applied(to: try Configuration.load(directory: configurationDirectory).server).stateDirectory
    }
}
