import Foundation
import TestSupport
import Testing

/// The server and a real avahi-daemon, in a network namespace.
@Suite(.needsRoot) struct `The announcement` {
    /// Runs a shell script with the commands `bus`, `avahi` and `serve DIRECTORY`, each of which starts a daemon.
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
                eventually test -S /run/bus
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
            timeout 60 avahi-browse -rtp _mandos._tcp >/run/found
            grep -q "^=;d0;IPv6;Mandos;_mandos._tcp;local;.*;$port;" /run/found
            ! grep -q ';IPv4;' /run/found
            kill "$avahi"
            wait "$avahi" || true
            wait_for /run/one.log 'avahi-daemon is gone'
            avahi
            announced_twice() { [ "$(grep -c ' announced port=' /run/one.log)" = 2 ]; }
            eventually announced_twice
            kill "$one"
            wait "$one"
            is_withdrawn() {
                timeout 60 avahi-browse -rtp _mandos._tcp >/run/found
                ! grep -q '^=' /run/found
            }
            eventually is_withdrawn
            """)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test func `comes although avahi-daemon was too slow at first`() async throws {
        let result = try await onALink(
            """
            bus
            avahi
            serve zero
            wait_for /run/zero.log ' announced '
            kill -STOP "$avahi"
            serve one
            wait_for /run/one.log 'not announced: clients need --connect'
            kill -CONT "$avahi"
            wait_for /run/one.log ' announced .*service.name=Mandos #2$'
            """)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test func `is never made on all interfaces instead of one that is gone`() async throws {
        let result = try await onALink(
            """
            ip link add late0 type veth peer name late1
            printf '[DEFAULT]\\ninterface = late0\\n' >"${clients%/*}/mandos.conf"
            serve one
            ip link del late0
            bus
            avahi
            wait_for /run/one.log 'not announced.*there is no interface late0'
            ip link add late0 type veth peer name late1
            sed -i s/d0/late0/ /run/avahi.conf
            kill "$avahi"
            wait "$avahi" || true
            avahi
            ip link set late0 up
            ip link set late1 up
            wait_for /run/one.log ' announced '
            timeout 60 avahi-browse -rtp _mandos._tcp >/run/found
            grep -q '^=;late0;IPv6;Mandos;' /run/found
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
