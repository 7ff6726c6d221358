import TestSupport
import Testing

/// The processes of which a client consists, and what becomes of them.
extension `On a LAN` {
    // MARK: Confinement

    @Test func `no process of a client that reads network data has any privilege, whoever started it`() async throws {
        let result = try await LAN().run(
            """
            host c
            begin_client c
            eventually has_part mandos-mdns
            eventually has_part mandos-client
            for process in $(part mandos-mdns) $(part mandos-client); do
                is_unprivileged() { [ "$(status "$process" NoNewPrivs)" = 1 ]; }
                eventually is_unprivileged
                for line in 'Uid 65534 65534 65534 65534' 'Gid 65534 65534 65534 65534' 'Groups ' \\
                    'CapEff 0000000000000000' 'CapPrm 0000000000000000'; do
                    [ "${line#* }" = "$(status "$process" "${line%% *}")" ] ||
                        fail "$process: ${line%% *}: $(status "$process" "${line%% *}")"
                done
                # The files of a process that cannot be traced belong to root.
                [ "$(stat -c %u "/proc/$process/status")" = 0 ] || fail "$process can be traced"
            done
            # They end with the process that has started them.
            mdns=$(part mandos-mdns) worker=$(part mandos-client)
            kill -KILL "$client"
            has_ended() { ! kill -0 "$1"; }
            eventually has_ended "$mdns" || fail "mandos-mdns goes on"
            eventually has_ended "$worker" || fail "the worker goes on"
            """)
        #expect(result.status == 0, "\(result.errors)")
    }

    #if arch(x86_64)
        @Test func `the process that looks for servers can do nothing else`() async throws {
            let result = try await LAN().run(
                """
                host c
                begin_client c
                eventually has_part mandos-mdns
                mdns=$(part mandos-mdns)
                is_confined() { [ "$(status "$mdns" Seccomp)" = 2 ]; }
                eventually is_confined || fail "Seccomp: $(status "$mdns" Seccomp)"
                # Once it waits for packets.
                has_joined() { ip -n c maddress show dev c-0 | grep -q ff02::fb; }
                eventually has_joined
                ls -l "/proc/$mdns/fd" >/run/descriptors
                ! grep -- '->' /run/descriptors | grep -v -e /dev/null -e 'socket:' -e 'pipe:' >&2 || fail "a descriptor"
                unix=0
                for inode in $(sed -n 's/.*socket:.\\([0-9]*\\).*/\\1/p' /run/descriptors); do
                    if grep -q " $inode" "/proc/$mdns/net/unix"; then unix=$((unix + 1)); fi
                done
                [ "$unix" = 1 ] || fail "$unix Unix sockets: $(cat /run/descriptors)"
                # getppid; socket of UDP; sockets of TCP, of raw packets and of Unix; open, openat, execve, fork, kill and ptrace of
                # its parent, connect, memory that is executable.
                /usr/bin/python3 "$(dirname "$LIBRARY")/system_call.py" "$mdns" 110 41,10,2,0 \\
                    41,2,1,0 41,10,3,58 41,1,2,0 2,0,0 257,-100,0,0 59,0,0,0 57 62,$client,9 101,16,$client 42,3,0,0 \\
                    9,0,4096,7,34,-1,0 >/run/results
                head -n 1 /run/results | grep -qx "$client" || fail "nothing was called: $(cat /run/results)"
                sed -n 2p /run/results | grep -qx '[0-9]*' || fail "it cannot have sockets of UDP: $(cat /run/results)"
                printf '%s\\n' -1 -1 -97 -38 -38 -38 -38 -38 -38 -38 -1 >/run/expected
                sed -n '3,$p' /run/results | diff /run/expected - >&2 || fail "it can do more than it should"
                """)
            #expect(result.status == 0, "\(result.errors)")
        }
    #endif

    // MARK: Crashes

    @Test func `a crash of the process that looks for servers costs nothing, and it goes on looking`() async throws {
        let result = try await LAN(section: "approval_delay = PT4S\n").run(
            """
            host s
            host t
            host c
            announcer s
            serve s "$UNKNOWN"
            begin_client c --debug --retry=1000
            wait_for /run/errors 'it has no secret for us'
            for signal in SEGV ABRT KILL; do
                former=$(part mandos-mdns)
                kill "-$signal" "$former"
                is_another() { part mandos-mdns | grep -qvx "$former"; }
                eventually is_another || fail "it does not come back after $signal: $(cat /run/errors)"
            done
            # What was known stays known.
            ! grep 'not announced any more' /run/errors >&2 || fail "forgotten"
            # It appears later; while it makes the client wait for approval, no one looks for servers.
            announcer t
            serve t "$KNOWN"
            wait_for /run/errors '"Mandos #2" on c-0: trying'
            is_connected() { on t ss -Htn state established | grep -q .; }
            eventually is_connected
            kill -SEGV "$(part mandos-mdns)" || true
            wait "$client" || fail "$(cat /run/errors)"
            [ "$(grep -c '"Mandos #2" on c-0: trying' /run/errors)" = 1 ] || fail "asked twice: $(cat /run/errors)"
            # Once for all of them, since there may be many.
            [ "$(grep -c 'the process that looks for servers has ended' /run/errors)" = 1 ] || fail "$(cat /run/errors)"
            cat /run/password
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == LAN.password)
    }

    @Test(arguments: ["SEGV", "ABRT", "KILL"])
    func `a worker that crashes while GnuPG has the key leaves nothing, and the password comes all the same`(
        signal: String
    )
        async throws
    {
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
            rm /run/hang
            kill "-\(signal)" "$(part mandos-client)"
            wait "$client" || fail "the client has ended with $?: $(cat /run/errors)"
            # A process may exist for a moment after it was killed.
            is_gone() { ! pgrep -x 'sleep|gpg|gpg-agent|mandos-client' && [ -z "$(ls -d /run/mandos-*)" ]; } >/run/none
            eventually is_gone || fail "left over: $(ps -A -o args; ls -dl /run/mandos-*)"
            grep -q 'has crashed with' /run/errors || fail "nothing is said of it"
            cat /run/password
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == LAN.password)
    }

    @Test func `a password is printed once even if the worker crashes at its end`() async throws {
        let result = try await LAN().run(
            #"""
            host s
            host c
            announcer s
            serve s "$KNOWN"
            # Crashes at the end of a process of the client that is not the first one, once.
            cat >/run/crash.c <<'END'
            #include <fcntl.h>
            #include <stdio.h>
            #include <stdlib.h>
            #include <string.h>
            #include <unistd.h>
            __attribute__((destructor)) static void crash(void) {
                char path[64], name[64] = "";
                snprintf(path, sizeof path, "/proc/%d/comm", getppid());
                FILE *file = fopen(path, "r");
                if (file != NULL && fgets(name, sizeof name, file) != NULL && strcmp(name, "mandos-client\n") == 0 &&
                    open("/run/crashed", O_CREAT | O_EXCL, 0600) >= 0)
                    abort();
            }
            END
            clang -shared -fPIC -o /run/crash.so /run/crash.c
            export LD_PRELOAD=/run/crash.so
            begin_client c
            wait "$client" || fail "$(cat /run/errors)"
            cat /run/password
            """#)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == LAN.password)
    }
}
