import TestSupport
import Testing

/// What the client does to the network when the system boots on.
extension `On a LAN` {
    /// A hook that takes half a minute to stop, and then touches the network; and `told`, a plugin that gives a password once
    /// `/run/typed` exists.
    private static let slowHook = #"""
        host c
        # Where only a set-uid program looks, changed for this test alone.
        mkdir /run/upper /run/work /run/plugins
        chmod 755 /run
        mount -t overlay overlay -o lowerdir=/usr/lib,upperdir=/run/upper,workdir=/run/work /usr/lib
        mkdir -p /lib/mandos/network-hooks.d
        cat >/lib/mandos/network-hooks.d/slow <<'END'
        #!/bin/sh
        [ "$1" = stop ] || exit 0
        touch /run/stopping
        sleep 30
        touch /run/late
        END
        chmod +x /lib/mandos/network-hooks.d/slow
        chown -R 65534:65534 /run/keys
        install -m 4755 "$CLIENT" /run/plugins/mandos-client
        printf '#!/bin/sh\nuntil [ -e /run/typed ]; do sleep 0.02; done; printf typed\n' >/run/plugins/told
        chmod +x /run/plugins/told
        no_helper() { ! pgrep mandos-network >/dev/null; }

        """#

    @Test func `a password typed by hand leaves nothing that touches the network later`() async throws {
        let result = try await LAN().run(
            Self.slowHook + #"""
                options=$(echo "--debug $KEY_OPTIONS" | tr -s ' ' ',')
                boot() {
                    rm -f /run/typed /run/stopping
                    network_of c >/run/before
                    ip netns exec c "$PLUGIN_RUNNER" --config-file=/nonexistent --plugin-dir=/run/plugins \
                        --options-for="mandos-client:$options" </dev/null >/run/password 2>/run/errors & runner=$!
                    wait_for /run/errors 'interface c-0 brought up'
                    touch /run/typed
                    wait "$runner" || fail "$(cat /run/errors)"
                    # The system boots on.
                    network_of c >/run/after
                    [ -e /run/stopping ] || fail "the hook was not stopped: $(cat /run/errors)"
                    eventually no_helper
                    network_of c >/run/later
                    diff /run/after /run/later >&2 || fail "the network was touched under the booted system"
                    [ ! -e /run/late ] || fail "a hook went on"
                }
                # On a busy machine, 4.5 seconds may be over before the interface is down, which then stays up.
                for _ in 1 2 3 4 5 6 7 8; do
                    boot
                    if diff /run/before /run/after >/run/difference; then cat /run/password; exit; fi
                    ip -n c link delete c-0
                    plug c 0
                done
                fail "the network is not as it was: $(cat /run/difference /run/errors)"
                """#)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == "typed")
    }

    @Test func `a client that comes too late touches nothing`() async throws {
        let result = try await LAN().run(
            Self.slowHook + #"""
                ip netns exec c "$CLIENT" $KEY_OPTIONS --network-hook-dir=/nonexistent --debug 2>/run/errors & client=$!
                wait_for /run/errors 'interface c-0 brought up'
                helper=$(pgrep mandos-network)
                # As a machine that is very busy.
                kill -STOP "$helper"
                kill "$client"
                # The client tells when the time is over, waits until then, and ends.
                wait "$client" || true
                network_of c >/run/after
                kill -CONT "$helper"
                eventually no_helper
                network_of c | diff /run/after - >&2 || fail "the network was touched under the booted system"
                """#)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test(arguments: [
        "address add 192.0.2.5/24 dev c-0", "address add 2001:db8::5/64 dev c-0", "link set c-0 master other",
        "route add 198.51.100.0/24 dev c-0", "route add 2001:db8:1::/64 dev c-0",
    ])
    func `an interface that others use by now stays up`(use: String) async throws {
        let result = try await LAN().run(
            """
            host c
            ip -n c link add other type bridge
            ip netns exec c "$CLIENT" $KEY_OPTIONS --network-hook-dir=/nonexistent --interface=c-0 --debug \\
                2>/run/errors & client=$!
            wait_for /run/errors 'interface c-0 brought up'
            ip -n c \(use)
            kill "$client"
            wait "$client" || true
            grep -q 'interface c-0 stays up: it is in use' /run/errors || fail "$(cat /run/errors)"
            ip -n c link show dev c-0 | grep -q '[<,]UP' || fail "c-0 is down"
            """)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test func `a router's advertisement does not keep an interface up`() async throws {
        let result = try await LAN().run(
            #"""
            host s
            host c
            ip -n s link set s-0 up
            network_of c >/run/before
            ip netns exec c "$CLIENT" $KEY_OPTIONS --network-hook-dir=/nonexistent --debug 2>/run/errors & client=$!
            wait_for /run/errors 'interface c-0 brought up'
            # Every 0.1 s: a router, with a prefix for addresses. Source: RFC 4861 §4.2, §4.6.2.
            on s /usr/bin/python3 -c '
            import socket, struct, time
            s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            link = socket.if_nametoindex("s-0")
            prefix = struct.pack(">BBBBIII", 3, 4, 64, 0xC0, 7200, 3600, 0) + socket.inet_pton(socket.AF_INET6, "2001:db8:5::")
            packet = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + prefix
            while True:
                try: s.sendto(packet, ("ff02::1", 0, 0, link))
                except OSError: pass
                time.sleep(0.1)
            ' & router=$!
            has_address() { on c ip -6 address show dev c-0 | grep -q '2001:db8:5:'; }
            eventually has_address || fail "no address: $(on c ip -6 address)"
            kill "$router"
            kill "$client"
            wait "$client" || true
            network_of c | diff /run/before - >&2 || fail "the network is not as it was: $(cat /run/errors)"
            """#)
        #expect(result.status == 0, "\(result.errors)")
    }
}
