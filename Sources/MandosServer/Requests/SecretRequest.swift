import Logging
import MandosCore
import MandosFormats

/// One request for a secret, from the proof of the key to the end of the connection.
///
/// Source: mandos(8), NETWORK PROTOCOL and APPROVAL.
struct SecretRequest {
    private let connection: Connection
    private let registry: Registry
    private let waiter: ApprovalWaiter
    private let logger: Logger
    private let strangers: StrangerLog

    /// `logger` logs the facts about the request with every line.
    init(on connection: Connection, to registry: Registry, logger: Logger, strangers: StrangerLog) {
        self.strangers = strangers
        self.connection = connection
        self.registry = registry
        waiter = ApprovalWaiter(
            keyID: connection.keyID, address: connection.address, since: registry.bootTime, wakeUp: connection.wakeUp,
            cut: connection.cut)
        var logger = logger
        logger[metadataKey: "peer.address"] = "\(connection.address)"
        logger[metadataKey: "key.id"] = "\(connection.keyID.map(String.init(describing:)) ?? "none")"
        self.logger = logger
    }

    /// Answers the request, however long that takes, and closes the connection.
    func serve() async {
        var logger = logger
        do throws(Connection.Failure) {
            while true {
                let (name, decision) = await registry.answer(waiter)
                if let name { logger[metadataKey: "client.name"] = "\(name)" }
                switch decision {
                case .awaitApproval(let deadline):
                    logger.debug("waiting for approval")
                    try await connection.wait(for: deadline - registry.bootTime)
                    continue
                case .refuse(let refusal):
                    await registry.secretWasRefused(refusal, to: waiter)
                    report(refusal, to: logger)
                case .release(let secret):
                    logger.debug("sending the secret")
                    try await connection.send(secret)
                    await registry.secretWasSent(to: waiter)
                    logger.info("secret sent", metadata: ["bytes": "\(secret.bytes.count)"])
                }
                break
            }
        } catch {
            logger.warning("secret not sent", metadata: ["reason": "\(error)"])
        }
        await registry.requestEnded(waiter)
        await connection.close()
    }

    private func report(_ refusal: Refusal, to logger: Logger) {
        let message: Logger.Message = "secret refused"
        let facts: Logger.Metadata = ["reason": "\(refusal.rawValue)"]
        if refusal == .unknownKey {
            strangers.log(.unknownKey, from: connection.source, message, to: logger, metadata: facts)
        } else {
            logger.warning(message, metadata: facts)
        }
    }
}
