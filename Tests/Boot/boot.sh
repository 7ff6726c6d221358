# shellcheck shell=bash
# Servers for the machines, their network, and what a boot must do. Sourced by Tests/Boot/test and
# Benchmarks/bench-boot.

readonly boot_limit=900 # seconds of a boot; emulated, one takes about 20 s, on a busy machine some minutes

fail() {
    {
        echo "boot-test: FAILED: $case: $1"
        for console in host-console console; do tail -n 60 "$work/$console" | tr -d '\r' | sed "s/^/  $console: /"; done
        tail -n 60 "$work/server/log" | sed 's/^/  server: /'
    } >&2 2>/dev/null || true
    exit 1
}

# Waits until a command succeeds, for ten minutes at most.
eventually() { # WHAT COMMAND...
    local what=$1
    shift
    for _ in $(seq 6000); do
        "$@" 2>/dev/null && return
        sleep 0.1
    done
    fail "$what"
}

# MARK: Servers

# Ours, with a section and more settings for it.
serve() { # ADDRESS SECTION SETTINGS
    write_server_files "$2" "$3"
    start_server --no-zeroconf --address "$1" --port 4711
    eventually "the server does not serve" grep -q ' serving' "$work/server/log"
}

# The same on the LAN, where clients find it.
serve_on_lan() { # SECTION SETTINGS
    make_lan
    write_server_files "$1" "$2"
    start_server --interface lan
    eventually "the server is not announced" grep -q ' announced port=' "$work/server/log"
}

write_server_files() { # SECTION SETTINGS
    stop_serving
    { cat "$work/$1"; printf 'checker = true\n%s\n' "$2"; } >"$work/server/configuration/clients.conf"
    chmod 600 "$work/server/configuration/clients.conf"
    rm -rf "$work/server/state" && mkdir -m 700 "$work/server/state"
}

start_server() { # OPTIONS...
    : >"$work/server/log"
    DBUS_SYSTEM_BUS_ADDRESS=unix:path=$work/bus .build/release/mandos --configdir "$work/server/configuration" \
        --statedir "$work/server/state" --foreground --no-dbus --debuglevel INFO "$@" 2>"$work/server/log" &
    server=$!
}
server=
stop_serving() {
    [ -z "$server" ] || { kill "$server" && wait "$server" || true; }
    server=
}

# A switch for the machines, where this host has a link-local address only; with a bus and Avahi for the server.
make_lan() {
    ! ip link show lan >/dev/null 2>&1 || return 0
    ip link add lan type bridge mcast_snooping 0
    ip link set lan up
    cat >"$work/bus.conf" <<END
<busconfig><type>system</type><listen>unix:path=$work/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/>
<allow receive_sender="*"/></policy></busconfig>
END
    mount -t tmpfs tmpfs /run
    mkdir /run/avahi-daemon
    printf '[server]\nhost-name=server\nallow-interfaces=lan\n' >"$work/avahi.conf"
    dbus-daemon --config-file="$work/bus.conf" --nofork --nopidfile 2>"$work/bus.log" &
    eventually "no bus" test -S "$work/bus"
    DBUS_SYSTEM_BUS_ADDRESS=unix:path=$work/bus avahi-daemon --no-drop-root --no-chroot --no-rlimits -f "$work/avahi.conf" \
        2>"$work/avahi.log" &
    eventually "no Avahi" grep -q 'Server startup complete' "$work/avahi.log"
}

# MARK: Boots

# Starts a machine, the process $emulator. Its console is in the file $work/CONSOLE, its keyboard is a FIFO.
start_machine() { # CONSOLE OPTIONS...
    local console=$work/$1
    shift
    rm -f "$console.keyboard" && mkfifo "$console.keyboard"
    : >"$console"
    qemu-system-x86_64 -machine q35 -cpu max -nodefaults -nographic -no-reboot \
        -kernel "$machine/boot/vmlinuz-$kernel" -serial stdio "$@" <>"$console.keyboard" >"$console" 2>&1 &
    emulator=$!
}

on_user_network=(-netdev user,id=net -device virtio-net-pci,netdev=net)
# A machine's cable to the switch; the address of its interface ends in the number.
on_lan() { # NUMBER
    make_lan
    if ! ip link show "machine$1" >/dev/null 2>&1; then
        ip tuntap add "machine$1" mode tap
        ip link set "machine$1" master lan addrgenmode none up
    fi
    network=(-netdev "tap,id=net,ifname=machine$1,script=no,downscript=no"
        -device "virtio-net-pci,netdev=net,mac=52:54:00:00:00:0$1")
}

# Boots the machine until it is off, or until the console has said "$stop_at". What is "$typed", if anything, follows "$prompt".
boot() { # PARAMETERS
    start_machine console -m 768 -initrd "$machine/tmp/image" \
        -append "root=${root:-/dev/mapper/root} console=ttyS0 net.ifnames=0 panic=5 $1" \
        -drive "file=$work/disk.image,if=virtio,format=raw,snapshot=on" "${disks[@]}" "${network[@]}"
    exec 5>"$work/console.keyboard"
    local left=${typed:-} end=$((SECONDS + boot_limit))
    while kill -0 "$emulator" 2>/dev/null && [ "$SECONDS" -lt "$end" ]; do
        if [ -n "${stop_at:-}" ] && grep -aq "$stop_at" "$work/console"; then break; fi
        if [ -n "$left" ] && grep -aqi "${prompt:-unlock disk\|passphrase for\|Password (}" "$work/console"; then
            sleep 2 # until the terminal is set up
            printf '%s\n' "$left" >&5
            left=
        fi
        sleep 0.2
    done
    exec 5>&-
    end_machine "$emulator"
}
disks=()
network=("${on_user_network[@]}")

end_machine() { # PROCESS
    kill "$1" 2>/dev/null || true
    wait "$1" || true
}

must_have_booted() {
    grep -aq "proof: $proof" "$work/console" || fail "it did not boot"
    grep -aq 'processes: *.\{0,1\}$' "$work/console" || fail "something of ours goes on in the booted system"
}
must_not_have_booted() { ! grep -aq "proof: $proof" "$work/console" || fail "it booted"; }
must_have_said() { grep -aq -- "$1" "$work/console" || fail "the console does not say \"$1\""; }
must_have_sent() { grep -q 'secret sent' "$work/server/log" || fail "the server has sent no password"; }
must_not_have_sent() { ! grep -q 'secret sent' "$work/server/log" || fail "the server has sent a password"; }
