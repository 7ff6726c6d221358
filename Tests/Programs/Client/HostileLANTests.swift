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

    /// `make hostile-lan` does the same for a minute.
    @Test func `malformed packets cost the client nothing`() async throws {
        let result = try await LAN().run(
            """
            host s
            host x
            host c
            announcer s
            export MALLOC_PERTURB_=165
            begin_client c --debug
            hostile x 5 1000 500 1 >/run/sent
            kill -0 "$client" || fail "the client has ended: $(tail /run/errors)"
            ! grep 'has crashed' /run/errors >&2
            serve s "$KNOWN"
            wait "$client" || fail "$(tail /run/errors)"
            cat /run/password
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == LAN.password)
    }

    @Test func `servers are looked for on the named interface only, even if it appears later`() async throws {
        let result = try await LAN().run(
            """
            ip link add other type bridge mcast_snooping 0
            ip link set other addrgenmode none up
            host s
            ip link set lan-s-0 master other
            host x
            host c
            ip -n c link set c-0 up
            announcer s
            serve s "$UNKNOWN"
            client c --interface=c-1 --debug --retry=3 >/run/password 2>/run/errors & client=$!
            flood x 3000 20 100
            plug c 1
            ip link set lan-c-1 master other
            wait_for /run/errors 'it has no secret for us'
            ip -n c maddress show dev c-1 | grep -q ff02::fb || fail "c-1 does not hear announcements"
            ! ip -n c maddress show dev c-0 | grep ff02::fb >&2 || fail "c-0 hears announcements"
            reload s "$KNOWN"
            eventually test -s /run/password || fail "not asked any more: $(tail /run/errors)"
            wait "$client"
            cat /run/password
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == LAN.password)
    }

    @Test func `neighbours who complete handshakes and then say nothing do not keep the client from the right server`()
        async throws
    {
        let result = try await LAN().run(
            """
            host s
            host x
            host c
            serve_plainly s "$KNOWN"
            stalling_servers x 250
            begin_client c
            announce x ports 250 100
            # All places are taken.
            is_full() { [ "$(on x ss -Htn state established | grep -c .)" -ge 200 ]; }
            eventually is_full || fail "not enough conversations: $(cat /run/errors)"
            announce s honest 4711
            password_within 60
            # A person is told what takes so long, but not of each of them.
            [ "$(grep -c . /run/errors)" -lt 40 ] || fail "too much is told: $(wc /run/errors)"
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == LAN.password)
    }

    @Test(arguments: [5000, 0])
    func `a neighbour who announces the right name with the wrong port does not hide the right one`(port: Int)
        async throws
    {
        let result = try await LAN().run(
            """
            host s
            host x
            host c
            serve_plainly s "$KNOWN"
            stalling_servers x 1
            begin_client c --debug
            announce x wrong-port \(port) 2
            wait_for /run/errors 'interface c-0 brought up'
            sleep 2
            announce s honest 4711
            password_within 60
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == LAN.password)
    }

    @Test func `a neighbour who announces endless addresses does not hide the right server`() async throws {
        let result = try await LAN().run(
            """
            host s
            host x
            host c
            serve_plainly s "$KNOWN"
            begin_client c --debug
            # More than Avahi's 20,000 at once, and then no more than a busy machine can read.
            announce x addresses 40 20 800
            wait_for /run/errors '"Many" on c-0: announced'
            sleep 2
            announce s honest 4711
            password_within 60
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == LAN.password)
    }
}
