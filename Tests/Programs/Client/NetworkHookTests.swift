import TestSupport
import Testing

/// The hooks and the privileges of a client that sets up a network.
extension `On a LAN` {
    /// A hook that makes an interface, one that hangs if it is executable, and `begin` and `end SIGNAL` for a client that
    /// runs them.
    private static let hooks = #"""
        host c
        mkdir /run/hooks
        cat >/run/hooks/one <<'END'
        #!/bin/sh
        case $1 in
            start) ip link add hooked type bridge && ip link set hooked up ;;
            stop) ip link delete hooked ;;
        esac
        END
        printf '#!/bin/sh\n[ "$1" = stop ] || exec sleep 1000\n' >/run/hooks/two
        chmod +x /run/hooks/one
        network_of c >/run/before
        # Starts a client, and waits until it says $1.
        begin() {
            # The shell has its background processes ignore two of the signals.
            env --default-signal ip netns exec c "$CLIENT" $KEY_OPTIONS --network-hook-dir=/run/hooks --debug \
                2>/run/errors & client=$!
            wait_for /run/errors "$1"
        }
        network_is_as_before() {
            network_of c >/run/after
            diff /run/before /run/after >/run/difference
        }
        # Ends the client by the signal $1. A client that is killed cannot wait for the clean-up itself.
        end() {
            kill "-$1" "$client"
            wait "$client" || true
            eventually network_is_as_before || fail "$(cat /run/difference /run/errors)"
        }
        no_hook_goes_on() { ! ps -A -o args | grep -v grep | grep 'sleep 1000'; }

        """#

    @Test(arguments: ["TERM", "INT", "HUP", "KILL"])
    func `a client leaves nothing up, whatever ends it and when`(signal: String) async throws {
        let result = try await LAN().run(
            Self.hooks + """
                begin 'interface c-0 brought up'
                ip -n c link show dev hooked >/run/shown
                end \(signal)
                # While a hook hangs.
                chmod +x /run/hooks/two
                begin 'network hook /run/hooks/two start'
                end \(signal)
                grep -q 'network hook /run/hooks/two stop' /run/errors || fail "the hook that hung was not stopped"
                # As early as can be.
                for delay in 0.000 0.002 0.004 0.008 0.016; do
                    begin ''
                    sleep "$delay"
                    end \(signal)
                done
                eventually no_hook_goes_on || fail "a hook goes on"
                """)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test func `network hooks run in order, as root, with the environment of the manual, and none stops another`()
        async throws
    {
        let result = try await LAN().run(
            """
            host c
            mkdir -p /run/hooks/10-directory
            for name in 20-a 30_b.sh C d 'bad name' bad~; do
                printf '#!/bin/sh\\necho "${0##*/} $* $MODE $(id -u) $(id -ru) $PWD" >>/run/calls\\n' >"/run/hooks/$name"
                echo 'read line && echo "read $line" >>/run/calls; echo said; env >/run/environment; exit 3' \\
                    >>"/run/hooks/$name"
                chmod +x "/run/hooks/$name"
            done
            chmod -x /run/hooks/d
            printf 'no program' >/run/hooks/e
            chmod +x /run/hooks/e
            export SECRET_OF_OTHERS=1
            ip netns exec c "$CLIENT" $KEY_OPTIONS --network-hook-dir=/run/hooks --delay=1.25 \\
                --connect=[::1]:4 --interface=c-0,none 2>/run/errors & client=$!
            # The last one that is started.
            wait_for /run/errors 'network hook /run/hooks/e: '
            kill "$client"
            wait "$client" || true
            cat >/run/expected <<'END'
            20-a start start 0 0 /
            30_b.sh start start 0 0 /
            C start start 0 0 /
            C stop stop 0 0 /
            30_b.sh stop stop 0 0 /
            20-a stop stop 0 0 /
            END
            diff /run/expected /run/calls >&2
            sort /run/environment | grep -v '^PATH=' >/run/seen
            printf 'CONNECT=[::1]:4\\nDELAY=1.25\\nDEVICE=c-0,none\\nMANDOSNETHOOKDIR=/run/hooks\\nMODE=stop\\nPWD=/\\nVERBOSITY=0\\n' \\
                | diff - /run/seen >&2
            grep -q 'network hook /run/hooks/20-a start failed with exit status 3' /run/errors
            grep -q 'network hook /run/hooks/e: ' /run/errors
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.isEmpty, "what a hook says is not the password: \(result.output)")
    }

    @Test func `a hook that takes longer than its limit is killed`() async throws {
        let result = try await LAN().run(
            """
            host c
            mkdir /run/hooks
            printf '#!/bin/sh\\nexec sleep 1000\\n' >/run/hooks/slow
            chmod +x /run/hooks/slow
            ip netns exec c "$CLIENT" $KEY_OPTIONS --network-hook-dir=/run/hooks --network-hook-timeout=0.1 --debug \\
                2>/run/errors & client=$!
            wait_for /run/errors 'slow start took longer than 0 s'
            wait_for /run/errors 'interface c-0 brought up'
            kill "$client"
            wait "$client" || true
            """)
        #expect(result.status == 0, "\(result.errors)")
    }

    /// Hooks of a set-uid client, of which one is root's alone, and `begin OPTION...` for such a client that has its
    /// interface up.
    private static let setUIDClient = #"""
        host s
        host c
        chmod 755 /run
        chown -R 65534:65534 /run/keys
        install -m 4755 "$CLIENT" /run/mandos-client
        # The one directory of a set-uid client's hooks, changed for this test alone.
        mkdir /run/upper /run/work /run/open
        mount -t overlay overlay -o lowerdir=/usr/lib,upperdir=/run/upper,workdir=/run/work /usr/lib
        mkdir -p /lib/mandos/network-hooks.d
        hooks=/lib/mandos/network-hooks.d
        printf '#!/bin/sh\nid -u >>/run/user\numask >>/run/user\n' >"$hooks/mine"
        printf '#!/bin/sh\ntouch /run/misused\n' >/run/open/others
        chmod +x "$hooks/mine" /run/open/others
        cp /run/open/others "$hooks/writable"
        chmod 777 "$hooks/writable"
        ln -s /run/open/others "$hooks/link"
        ln -s /bin/touch "$hooks/tool"
        umask 0
        begin() {
            ip netns exec c setpriv --reuid 65534 --regid 65534 --clear-groups \
                /run/mandos-client $KEY_OPTIONS "$@" --debug >/run/password 2>/run/errors & client=$!
            wait_for /run/errors 'interface c-0 brought up'
        }
        # Prints the value of $2 in the status of process $1.
        status() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status" | tr '\t' ' '; }

        """#

    @Test func `a set-uid client gives up root where it talks to others, and runs nobody's hooks but root's`()
        async throws
    {
        let result = try await LAN().run(
            Self.setUIDClient + #"""
                begin
                [ "$(status "$client" Uid)" = '65534 65534 65534 65534' ] || fail "user: $(status "$client" Uid)"
                [ "$(status "$client" Gid)" = '65534 65534 65534 65534' ] || fail "group: $(status "$client" Gid)"
                [ "$(status "$client" CapEff)$(status "$client" CapPrm)" = 00000000000000000000000000000000 ] ||
                    fail "capabilities: $(status "$client" CapPrm)"
                [ "$(head -n 2 /run/user | tr '\n' ' ')" = '0 0022 ' ] || fail "the hook was not root as it should be"
                [ "$(status "$client" NoNewPrivs)" = 1 ] || fail "it could get privileges again"
                for hook in writable link tool; do
                    grep -q "network-hooks.d/$hook is not run: .* users other than root can change it" /run/errors || fail "nothing is said of $hook"
                done
                kill "$client"
                wait "$client" || true

                # Without hooks the helper keeps the capabilities for the network and no others: 12, 25 and 34.
                begin --network-hook-dir=/nonexistent
                helper=$(pgrep -P "$client" mandos-network)
                [ "$(status "$helper" CapEff)" = 0000000402001000 ] || fail "capabilities: $(status "$helper" CapEff)"
                [ "$(status "$helper" CapBnd)" = 0000000402001000 ] || fail "bounding set: $(status "$helper" CapBnd)"
                announcer s
                serve s "$KNOWN"
                wait "$client"
                cat /run/password

                for directory in /run/open /usr/bin /run/../lib/mandos/network-hooks.d; do
                    begin --network-hook-dir="$directory"
                    # It may have its password by now.
                    kill "$client" || true
                    wait "$client" || true
                    grep -q "no network hook is run from $directory" /run/errors || fail "nothing is said"
                done
                [ ! -e /start ] || fail "a program of the system was run as a hook"
                [ ! -e /run/misused ] || fail "a hook that is not root's alone was run as root"
                """#)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == LAN.password)
    }

    @Test func `a set-uid client tells nothing of directories that only root can read`() async throws {
        let result = try await LAN().run(
            Self.setUIDClient + #"""
                mkdir -m 700 /run/closed
                said() {
                    begin --network-hook-dir=/run/closed
                    kill "$client"
                    wait "$client" || true
                    grep 'hook' /run/errors
                }
                said >/run/empty
                touch /run/closed/file
                said | diff /run/empty - >&2 || fail "a user learns whether a directory is empty"
                """#)
        #expect(result.status == 0, "\(result.errors)")
    }
}
