import Foundation
import Glibc
import TestSupport
import Testing

/// Machines that lack what others have.
extension `On a LAN` {
    @Test func `gpg works where an unprivileged user may not make a directory, and nothing is left of it`() async throws
    {
        let result = try await LAN().run(
            #"""
            host s
            host c
            announcer s
            serve s "$KNOWN"
            # Only gpg, and neither /run nor /tmp for it.
            mount --bind /dev/null /usr/bin/sqop 2>/dev/null || true
            install -m 4755 "$CLIENT" /run/mandos-client
            chmod 755 /run
            chown -R 65534:65534 /run/keys
            mkdir -p /run/password
            mount -t tmpfs -o ro tmpfs /tmp
            ls /run >/run/password/before
            ip netns exec c setpriv --reuid 65534 --regid 65534 --clear-groups /run/mandos-client $KEY_OPTIONS \
                --network-hook-dir=/nonexistent --debug >/run/password/password 2>/run/password/errors & client=$!
            eventually test -s /run/password/password || fail "$(cat /run/password/errors)"
            wait "$client"
            cat /run/password/password
            ls /run | diff /run/password/before - >&2 || fail "something is left"
            """#)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == LAN.password)
    }

    @Test func `a machine without IPv6 brings up its interfaces, asks servers with IPv4, and says so`() async throws {
        let result = try await LAN().run(
            #"""
            host s
            host c
            ip -n s link set s-0 up
            ip -n s address add 192.0.2.1/24 dev s-0
            ip -n c address add 192.0.2.2/24 dev c-0
            mkdir -p -m 700 /run/s/configuration /run/s/state
            cp "$KNOWN" /run/s/configuration/clients.conf
            on s "$MANDOS" --configdir /run/s/configuration --statedir /run/s/state --foreground --no-dbus --port 4711 \
                --no-zeroconf --debuglevel INFO 2>/run/s/log &
            wait_for /run/s/log ' serving'
            ip netns exec c /usr/bin/python3 -c "$REFUSE" 'socket(0==10)=EAFNOSUPPORT' -- "$CLIENT" $KEY_OPTIONS \
                --network-hook-dir=/nonexistent --connect=192.0.2.1:4711 --debug >/run/password 2>/run/errors & client=$!
            wait_for /run/errors 'has no IPv6'
            eventually test -s /run/password || fail "$(cat /run/errors)"
            wait "$client"
            grep -q 'interface c-0 brought up' /run/errors || fail "$(cat /run/errors)"
            cat /run/password
            """#)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == LAN.password)
    }

    @Test func `a server is tried at once when its route comes, later than the address`() async throws {
        let result = try await LAN().run(
            #"""
            host s
            host c
            ip -n s link set s-0 up
            ip -n s address add 198.51.100.1/24 dev s-0
            ip -n s route add 192.0.2.0/24 dev s-0
            ip -n c link set c-0 up
            ip -n c address add 192.0.2.2/24 dev c-0
            mkdir -p -m 700 /run/s/configuration /run/s/state
            cp "$KNOWN" /run/s/configuration/clients.conf
            on s "$MANDOS" --configdir /run/s/configuration --statedir /run/s/state --foreground --no-dbus --port 4711 \
                --no-zeroconf --debuglevel INFO 2>/run/s/log &
            wait_for /run/s/log ' serving'
            # Nothing but the change of the network makes it try again.
            ip netns exec c "$CLIENT" $KEY_OPTIONS --network-hook-dir=/nonexistent --connect=198.51.100.1:4711 \
                --interface=none --delay=0 --retry=100000 --debug >/run/password 2>/run/errors & client=$!
            wait_for /run/errors 'Network is unreachable'
            # Later changes of the addresses would hide that routes are watched: none is left to come.
            is_settled() { ! on c ip -6 address | grep -q tentative; }
            eventually is_settled
            ip -n c route add 198.51.100.0/24 dev c-0
            eventually test -s /run/password || fail "$(cat /run/errors)"
            wait "$client"
            cat /run/password
            """#)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == LAN.password)
    }

    @Test func `an interface that cannot be brought up is tried again`() async throws {
        let result = try await LAN().run(
            #"""
            host c
            # Refused as long as another program has its port; nothing reports the end of that.
            ip -n c link add vx type vxlan id 4 dstport 4789 remote 192.0.2.1
            ip netns exec c /usr/bin/python3 -c '
            import signal, socket
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind(("", 4789))
            open("/run/bound", "w").write("x")
            signal.pause()
            ' & other=$!
            eventually test -s /run/bound
            ip netns exec c "$CLIENT" $KEY_OPTIONS --network-hook-dir=/nonexistent --interface=vx --debug \
                2>/run/errors & client=$!
            wait_for /run/errors 'bringing interface vx up: Address already in use'
            # It is tried, and fails, some times more.
            sleep 3
            kill "$other"
            wait_for /run/errors 'interface vx brought up'
            [ "$(grep -c 'bringing interface vx up' /run/errors)" = 1 ] || fail "reported more than once: $(cat /run/errors)"
            kill "$client"
            wait "$client" || true
            """#)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test func `four hundred interfaces are all brought up`() async throws {
        let result = try await LAN().run(
            #"""
            ip netns add c
            for number in $(seq 200); do echo "link add a$number type veth peer name b$number"; done >/run/batch
            ip -n c -batch /run/batch
            ip netns exec c "$CLIENT" $KEY_OPTIONS --network-hook-dir=/nonexistent --debug 2>/run/errors & client=$!
            are_up() { [ "$(grep -c 'interface [ab][0-9]* brought up' /run/errors)" = 400 ]; }
            eventually are_up || fail "only $(grep -c 'brought up' /run/errors)"
            kill "$client"
            wait "$client" || true
            """#)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test func `a client ends after its password although hundreds of interfaces are being brought up`() async throws {
        let result = try await LAN().run(
            #"""
            host s
            host c
            announcer s
            serve s "$KNOWN"
            ip -n c link set c-0 up
            for number in $(seq 250); do echo "link add a$number type veth peer name b$number"; done >/run/batch
            ip -n c -batch /run/batch
            # The helper stops while it has the requests of all interfaces, and the password comes meanwhile.
            ip netns exec c "$CLIENT" $KEY_OPTIONS --network-hook-dir=/nonexistent --debug >/run/password 2>/run/errors & client=$!
            wait_for /run/errors 'interface [ab][0-9]* brought up'
            helper=$(pgrep mandos-network)
            kill -STOP "$helper"
            eventually test -s /run/password || fail "$(tail -5 /run/errors)"
            sleep 1
            kill -CONT "$helper"
            is_over() { [ ! -e "/proc/$client" ] || grep -q '^State:.Z' "/proc/$client/status"; }
            eventually is_over || fail "it hangs"
            wait "$client"
            cat /run/password
            """#)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == LAN.password)
    }

    @Test(arguments: RefusedCalls.ofOldKernels)
    func `a set-uid client works on an old kernel, and leaves the network as it was`(refused: RefusedCalls) async throws
    {
        let result = try await LAN().run(
            #"""
            host s
            host c
            announcer s
            serve s "$KNOWN"
            mkdir -m 777 /run/out
            chmod 755 /run
            chown -R 65534:65534 /run/keys
            install -m 4755 "$CLIENT" /run/mandos-client
            network_of c >/run/before
            ip netns exec c setpriv --reuid 65534 --regid 65534 --clear-groups /run/mandos-client $KEY_OPTIONS --debug \
                --network-hook-dir=/nonexistent >/run/out/password 2>/run/out/errors & client=$!
            eventually test -s /run/out/password || fail "$(cat /run/out/errors)"
            wait "$client"
            # Also with gpg, and by a signal while a hook hangs.
            mount --bind /dev/null /usr/bin/sqop 2>/dev/null || true
            client c >>/run/out/password
            mkdir /run/hooks
            printf '#!/bin/sh\n[ "$1" = stop ] || exec sleep 1000\n' >/run/hooks/hangs
            chmod +x /run/hooks/hangs
            env --default-signal ip netns exec c "$CLIENT" $KEY_OPTIONS --network-hook-dir=/run/hooks --debug \
                2>/run/out/errors & client=$!
            wait_for /run/out/errors 'network hook /run/hooks/hangs start'
            kill "$client"
            wait "$client" || true
            network_of c | diff /run/before - >&2 || fail "the network is not as it was: $(cat /run/out/errors)"
            ! pgrep mandos-network >/dev/null || fail "the process that is root goes on"
            cat /run/out/password
            """#, refused: refused)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == LAN.password + LAN.password)
    }

    @Test func `--debug shows what Avahi and GnuTLS do, and no key`() async throws {
        let result = try await LAN().run(
            """
            host s
            host c
            announcer s
            serve s "$KNOWN"
            client c --debug 2>/run/errors
            grep -q 'mandos-client: Avahi: ' /run/errors || fail "nothing of Avahi: $(cat /run/errors)"
            grep -q 'mandos-client: GnuTLS: .*HSK' /run/errors || fail "nothing of GnuTLS: $(cat /run/errors)"
            ! grep -i 'KEY BLOCK\\|PREMASTER\\|INT: ' /run/errors >&2 || fail "a key is shown"
            ! grep -A1 GnuTLS /run/errors | grep '^$' || fail "there are empty lines"
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == LAN.password)
    }
}

@Suite struct `The client's memory` {
    @Test(.needsRoot) func `keeps no part of the OpenPGP key, which other programs use`() async throws {
        let keys = try await Keys.make()
        let server = try FakeServer(FakeServer.waitForEnd)
        let client = try client(keys, [server.address], ["--debug"])
        _ = try await client.line(with: "trying")
        let worker = try await eventually("the worker") {
            RunningProgram.children(of: client.processID).first { process in
                let name = FileManager.default.contents(atPath: "/proc/\(process)/comm")
                return name.map { String(decoding: $0, as: UTF8.self) } == "mandos-client\n"
            }
        }
        // Prints every line of the key that is in memory; the first line of a key is its public part.
        let search = """
            import re, sys
            key = [l.encode() for l in open(sys.argv[2]).read().split("\\n") if len(l) >= 20 and l[0] != "-" and ":" not in l][1:]
            assert key
            memory = open(f"/proc/{sys.argv[1]}/mem", "rb", 0)
            for line in open(f"/proc/{sys.argv[1]}/maps"):
                first, last, access = re.match("([0-9a-f]+)-([0-9a-f]+) (....)", line).groups()
                if access[:2] != "rw": continue
                memory.seek(int(first, 16))
                try: contents = memory.read(int(last, 16) - int(first, 16))
                except OSError: continue
                for part in key:
                    for piece in (part[:20], part[20:40], part[-20:]):
                        if len(piece) == 20 and piece in contents: print(piece.decode())
            """
        let found = try await runForText(
            "/usr/bin/python3", ["-c", search, "\(worker)", keys.directory.path + "/seckey.txt"])
        #expect(found.status == 0, "\(found.errors)")
        #expect(found.output.isEmpty, "\(found.output.split(separator: "\n").count) pieces of the key")
        client.signal(SIGTERM)
        _ = try await client.ending()
    }
}
