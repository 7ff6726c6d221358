/// Runs `body` and waits for its result; if the task is cancelled, stops waiting and leaves `body` running.
///
/// For work that blocks a thread and cannot be cancelled, such as reading a file from a network file system that is gone.
func abandonable<Success: Sendable>(
    _ body: @escaping @Sendable () async throws -> Success
) async throws -> Success {
    let (results, ended) = AsyncStream.makeStream(of: Result<Success, any Error>.self)
    Task {
        do {
            ended.yield(.success(try await body()))
        } catch {
            ended.yield(.failure(error))
        }
        ended.finish()
    }
    for await result in results { return try result.get() }
    throw CancellationError()
}
