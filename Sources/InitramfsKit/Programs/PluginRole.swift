import CMandosSystem
import POSIXKit

/// What a plugin of plugin-runner(8mandos) does about the password. plugin-runner prompts at the console by itself as soon
/// as no plugin asks a person.
///
/// A plugin declares its role, and may declare another one later, by writing the role's word and a newline to the descriptor
/// whose number is in the environment variable ``variable``. Source: docs/WHO-CAN-TYPE.md.
public enum PluginRole: CaseIterable, Sendable {
    /// Prompts a person now.
    case asks
    /// Will prompt a person in a moment, or end.
    case willAsk
    /// Gets the password from another machine.
    case fetches
    /// Waits for another program that brings the password.
    case waits
    /// Passes on what a person types elsewhere, such as at another machine.
    case relays

    public static var variable: String { "MANDOSPLUGINROLEFD" }

    private var word: StaticString {
        switch self {
        case .asks: "asks"
        case .willAsk: "will-ask"
        case .fetches: "fetches"
        case .waits: "waits"
        case .relays: "relays"
        }
    }

    /// - Returns: nil if there is no such word.
    public init?(word: [UInt8]) {
        guard let role = Self.allCases.first(where: { word.elementsEqual($0.word.description.utf8) }) else {
            return nil
        }
        self = role
    }

    /// Declares this role to the plugin-runner that has started us; does nothing under another program, such as the
    /// reference's.
    ///
    /// `isFinal` also closes the descriptor: if a hostile network took over this process later, it could otherwise declare
    /// that we ask, and so keep people from typing.
    public func declare(isFinal: Bool = false) {
        // The variable is our caller's, and we may be set-uid root. Nothing but a pipe is written to or closed.
        var status = stat()
        guard let number = ProcessEnvironment.value(of: Self.variable).flatMap({ Int32($0) }), number > STDERR_FILENO,
            unsafe fstat(number, &status) == 0, status.isFIFO
        else { return }
        // If plugin-runner has stopped listening, it goes on with the role that it knows.
        _ = try? writeAll(Array((word.description + "\n").utf8), to: number)
        if isFinal { _ = FileDescriptor(owning: number) }
    }
}
