import TestSupport
import Testing

/// What the client does when a part of it, or a program that it runs, is killed or hangs.
extension `On a LAN` {
    @Test(arguments: [("STOP", "does not answer"), ("KILL", "has ended with signal 9")])
    func `without the process that restores the network, the client ends, and tells what stays up`(
        signal: String, problem: String
    ) async throws {
        let result = try await LAN().run(
            """
            host s
            host c
            announcer s
            serve s "$UNKNOWN"
            begin_client c --debug --retry=1
            wait_for /run/errors 'it has no secret for us'
            kill -\(signal) "$(pgrep mandos-network)"
            reload s "$KNOWN"
            is_over() { [ ! -e "/proc/$client" ] || grep -q '^State:.Z' "/proc/$client/status"; }
            eventually is_over || fail "it hangs: $(cat /run/errors)"
            wait "$client" || fail "$(cat /run/errors)"
            grep -q 'the process that restores the network \(problem); what it has brought up stays up: c-0' /run/errors \\
                || fail "$(cat /run/errors)"
            cat /run/password
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == LAN.password)
    }

    @Test func `a client that is told to end does not wait for a process that hangs`() async throws {
        let result = try await LAN().run(
            """
            host c
            begin_client c --debug
            wait_for /run/errors 'interface c-0 brought up'
            kill -STOP "$(pgrep mandos-network)"
            kill "$client"
            is_over() { [ ! -e "/proc/$client" ] || grep -q '^State:.Z' "/proc/$client/status"; }
            eventually is_over || fail "it hangs: $(cat /run/errors)"
            grep -q 'does not answer; what it has brought up stays up: c-0' /run/errors || fail "$(cat /run/errors)"
            """)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test func `a client that is killed while GnuPG has the key leaves nothing`() async throws {
        let result = try await LAN().run(
            """
            host s
            host c
            announcer s
            serve s "$KNOWN"
            hanging_gpg
            begin_client c
            is_hanging() { pgrep -f '^sleep 1000$' && pgrep gpg-agent; } >/run/none
            eventually is_hanging || fail "GnuPG was not started: $(cat /run/errors; ps -ef)"
            kill -KILL "$client"
            is_gone() { ! pgrep -x 'sleep|gpg|gpg-agent|mandos-(client|network|mdns)' && [ -z "$(ls -d /run/mandos-*)" ]; } >/run/none
            eventually is_gone || fail "left over: $(ps -A -o args; ls -lR /run/mandos-*)"
            """)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test func `an OpenPGP program that hangs does not keep the next one from decrypting`() async throws {
        let result = try await LAN().run(
            #"""
            host s
            host c
            announcer s
            serve s "$KNOWN"
            printf '#!/bin/sh\nexec sleep 1000\n' >/run/hangs
            chmod 755 /run /run/hangs
            mount --bind /run/hangs /usr/bin/sqop
            begin_client c
            wait "$client" || fail "$(cat /run/errors)"
            grep -q '/usr/bin/sqop took too long; trying the next program' /run/errors || fail "$(cat /run/errors)"
            cat /run/password
            """#)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == LAN.password)
    }

    @Test func `the caller's umask and limits do not keep the client from its work`() async throws {
        let result = try await LAN().run(
            #"""
            host s
            host c
            announcer s
            serve s "$UNKNOWN"
            mount --bind /dev/null /usr/bin/sqop 2>/dev/null || true
            touch /run/password /run/errors
            ulimit -S -n 100
            umask 777
            begin_client c --retry=1 --debug
            umask 22
            wait_for /run/errors 'it has no secret for us'
            grep -q '^Max open files  *1024 ' "/proc/$client/limits" || fail "$(cat "/proc/$client/limits")"
            # SIGXFSZ has the number 25.
            [ $((0x$(status "$client" SigIgn) >> 24 & 1)) = 1 ] || fail "a full file would end it"
            reload s "$KNOWN"
            wait "$client" || fail "$(cat /run/errors)"
            cat /run/password
            """#)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == LAN.password)
    }
}
