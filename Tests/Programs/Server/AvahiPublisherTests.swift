import Foundation
import TestSupport
import Testing

/// The server and a real avahi-daemon, on a network of their own.
@Suite(.needsRoot) struct `The announcement` {
    /// Runs `body` with a bus, and with `avahi` and `serve DIRECTORY` to start what there is.
    private func onALink(_ body: String) async throws -> (status: Int32, output: String, errors: String) {
        try await inNamespace(
            """
            mkdir -p /run/avahi-daemon
            ip link add d0 type veth peer name d1
            ip link set d0 up
            ip link set d1 up
            cat >/run/bus.conf <<END
            <busconfig><type>system</type><listen>unix:path=/run/bus</listen><auth>EXTERNAL</auth>
            <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/>
            <allow receive_sender="*"/></policy></busconfig>
            END
            printf '[server]\\nhost-name=h\\nallow-interfaces=d0\\n' >/run/avahi.conf
            export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/bus
            program=$0
            bus() {
                dbus-daemon --config-file=/run/bus.conf --nofork --nopidfile 2>/dev/null & bus=$!
                until [ -S /run/bus ]; do sleep 0.02; done
            }
            avahi() {
                avahi-daemon --no-drop-root --no-chroot --no-rlimits -f /run/avahi.conf 2>/dev/null & avahi=$!
            }
            # The port is any free one: it is announced.
            serve() {
                mkdir -m 700 "/run/$1"
                "$program" --configdir "${clients%/*}" --statedir "/run/$1" --foreground --debuglevel INFO 2>"/run/$1.log" &
                wait_for "/run/$1.log" ' serving'
            }
            \(body)
            """, clients: "[DEFAULT]\n")
    }

    @Test func `has the real port, waits for an Avahi that comes late, and comes back with it`() async throws {
        let result = try await onALink(
            """
            serve one
            one=$!
            wait_for /run/one.log 'not announced: clients need --connect'
            bus
            sleep 6
            avahi
            wait_for /run/one.log ' announced port='
            port=$(sed -n 's/.* serving .*port=//p' /run/one.log)
            timeout 10 avahi-browse -rtp _mandos._tcp >/run/found
            grep -q "^=;d0;IPv6;Mandos;_mandos._tcp;local;.*;$port;" /run/found
            ! grep -q ';IPv4;' /run/found
            kill "$avahi"
            wait "$avahi" || true
            wait_for /run/one.log 'avahi-daemon is gone'
            avahi
            for _ in $(seq 500); do [ "$(grep -c ' announced port=' /run/one.log)" = 2 ] && break; sleep 0.02; done
            [ "$(grep -c ' announced port=' /run/one.log)" = 2 ]
            kill "$one"
            wait "$one"
            for _ in $(seq 50); do
                timeout 10 avahi-browse -rtp _mandos._tcp >/run/found
                grep -q '^=' /run/found || exit 0
                sleep 0.1
            done
            cat /run/found >&2
            exit 3
            """)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test func `has a name of its own when another server has that one`() async throws {
        let result = try await onALink(
            """
            bus
            avahi
            serve one
            wait_for /run/one.log ' announced .*service.name=Mandos$'
            serve two
            wait_for /run/two.log ' announced .*service.name=Mandos #2$'
            """)
        #expect(result.status == 0, "\(result.errors)")
    }
}
