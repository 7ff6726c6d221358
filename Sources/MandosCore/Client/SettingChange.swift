public import MandosFormats

/// A change of one setting that an operator makes while the server is running.
public enum SettingChange: Equatable, Sendable {
    case host(String)
    case checker(String)
    case secret([UInt8])
    case timeout(TimeSpan)
    case extendedTimeout(TimeSpan)
    case interval(TimeSpan)
    case approvalDelay(TimeSpan)
    case approvalDuration(TimeSpan)
    case approvedByDefault(Bool)

    /// Why a change is refused.
    public struct Refusal: Error, Equatable, CustomStringConvertible {
        public let description: String
    }

    /// The settings after the change. Values that are errors in clients.conf are refused here too.
    public func applied(to settings: ClientSettings) throws(Refusal) -> ClientSettings {
        var settings = settings
        switch self {
        case .host(let host): settings.host = host
        case .checker(let text):
            do throws(CheckerCommand.Problem) {
                settings.checker = try CheckerCommand(parsing: text)
            } catch {
                throw Refusal(description: "checker: \(error.whileRunning)")
            }
        case .secret(let bytes):
            guard !bytes.isEmpty else { throw Refusal(description: "the secret is empty") }
            guard bytes.count <= Secret.largest else {
                throw Refusal(
                    description: "the secret is \(bytes.count) bytes long; the longest allowed is \(Secret.largest)")
            }
            settings.secret = Secret(bytes)
        case .timeout(let span): settings.timeout = try Self.checked(span)
        case .extendedTimeout(let span): settings.extendedTimeout = try Self.checked(span)
        case .interval(let span):
            guard span > .zero else { throw Refusal(description: "the interval must be greater than zero") }
            settings.interval = try Self.checked(span)
        case .approvalDelay(let span): settings.approvalDelay = try Self.checked(span)
        case .approvalDuration(let span): settings.approvalDuration = try Self.checked(span)
        case .approvedByDefault(let isApproved): settings.approvedByDefault = isApproved
        }
        return settings
    }

    private static func checked(_ span: TimeSpan) throws(Refusal) -> TimeSpan {
        guard span >= .zero, span <= .longest else {
            throw Refusal(description: "the duration is longer than \(TimeSpan.longestYears) years")
        }
        return span
    }
}
