import TestSupport
import Testing

/// What somebody on the LAN who announces servers that do not exist can do to a client: nothing.
@Suite(.needsRoot) struct `On a LAN with a flood of announcements` {
    @Test func `the client does not crash when more services are announced than it looks at`() async throws {
        let result = try await LAN().run(
            """
            host x
            host c
            # The C library overwrites what is freed, so that its use shows.
            export MALLOC_PERTURB_=165
            client c --debug 2>/run/errors & client=$!
            wait_for /run/errors 'interface c-0 brought up'
            # More than there is room for, which never resolve, and then new ones while those fail.
            flood x 1100 20 100
            flood x 6000 1 200
            kill "$client"
            ! grep crash /run/errors >&2
            """)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test func `the right server is asked again and again`() async throws {
        let result = try await LAN().run(
            """
            host s
            host x
            host c
            announcer s
            serve s "$UNKNOWN"
            client c --debug --retry=3 >/run/password 2>/run/errors & client=$!
            wait_for /run/errors 'it has no secret for us'
            flood x 12800 1 1600
            reload s "$KNOWN"
            eventually test -s /run/password || fail "not asked any more: $(tail /run/errors)"
            wait "$client"
            ! grep '"Mandos" on c-0: not announced any more' /run/errors >&2 || fail "forgotten"
            cat /run/password
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == LAN.password)
    }
}
