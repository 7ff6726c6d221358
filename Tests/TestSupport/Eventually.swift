/// How long a test waits for something that should happen soon. It is generous because the machine may be busy with other
/// tests: only a defect reaches it.
public let waitLimit = Duration.seconds(120)

/// Waits until `body` returns a value, and returns that; gives up after ``waitLimit``.
///
/// - Parameters:
///   - goal: What the test waits for.
///   - details: What helps to understand why it did not happen, such as a program's standard error.
@discardableResult
public func eventually<Result>(
    _ goal: String, details: () -> String = { "" }, _ body: () async throws -> Result?
) async throws -> Result {
    let deadline = ContinuousClock.now + waitLimit
    var pause = Duration.milliseconds(5)
    while ContinuousClock.now < deadline {
        if let result = try await body() { return result }
        try await Task.sleep(for: pause)
        // Hundreds of tests wait at the same time, and must leave the processors to those that work.
        pause = min(pause * 1.2, .milliseconds(100))
    }
    throw TookTooLong(goal: goal, details: details())
}

/// Waits until `condition` holds; gives up after ``waitLimit``.
public func waitUntil(
    _ goal: String, details: () -> String = { "" }, _ condition: () async throws -> Bool
) async throws {
    try await eventually(goal, details: details) { try await condition() ? () : nil }
}

/// Something that did not happen within ``waitLimit``.
public struct TookTooLong: Error, CustomStringConvertible {
    public let goal: String
    public let details: String

    public init(goal: String, details: String) {
        self.goal = goal
        self.details = details
    }

    public var description: String { "did not see \(goal); instead:\n\(details)" }
}

/// Shell functions that wait, for scripts in namespaces: they give up after a minute, so that the test has not given up
/// waiting for the script.
public let shellWaiting = """
    # Waits until a command succeeds.
    eventually() {
        give_up=$(($(date +%s) + 60))
        until "$@" 2>/dev/null; do
            if [ "$(date +%s)" -ge "$give_up" ]; then echo "did not see: $*" >&2; return 9; fi
            sleep 0.02
        done
    }
    # Waits until file $1 has the line $2.
    wait_for() { eventually grep -q "$2" "$1" || { cat "$1" >&2; exit 9; }; }
    # Waits until process $1 is gone.
    has_ended() { ! kill -0 "$1" 2>/dev/null; }

    """
