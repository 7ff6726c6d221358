/// Waits for `body`, but not longer than the task may live: a task that is cancelled leaves it alone.
///
/// For what blocks a thread and cannot be told to stop, such as reading a file of a network that is gone. It goes on until
/// it ends by itself, or the process does.
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
