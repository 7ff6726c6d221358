# Hosts on a LAN, for tests of how clients and servers find each other. Read by a shell in new network, mount and process
# namespaces, with these variables in its environment:
#   MANDOS, CLIENT       our programs
#   KEYS                 where the client's keys are
#   REFERENCE            where the reference implementation is unpacked
# All processes end with the process namespace.
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir /run/netns
# Neither may be below /tmp, which is empty for the reference's client.
cp -r "$KEYS" /run/keys
KEY_OPTIONS="--pubkey=/run/keys/pubkey.txt --seckey=/run/keys/seckey.txt \
    --tls-pubkey=/run/keys/tls-pubkey.pem --tls-privkey=/run/keys/tls-privkey.pem"
mount --bind "$REFERENCE" /media
REFERENCE=/media
ip link set lo up
# A switch, which forwards multicast packets to all ports, as switches without snooping do.
ip link add lan type bridge mcast_snooping 0
ip link set lan addrgenmode none up

fail() {
    echo "$*" >&2
    exit 9
}

# Waits until a command succeeds, for a minute at most.
eventually() {
    give_up=$(($(date +%s) + 60))
    until "$@" 2>/dev/null; do
        [ "$(date +%s)" -lt "$give_up" ] || return 9
        sleep 0.02
    done
}

# Waits until file $1 has the line $2.
wait_for() {
    eventually grep -q -- "$2" "$1" || fail "did not see \"$2\" in $1:
$(cat "$1" 2>&1)"
}

# Prints milliseconds of a clock that is never set.
now() { sed 's/^\([0-9]*\)\.\([0-9]*\) .*/\1\20/' /proc/uptime; }

# Adds the host $1; its one interface, $1-0, is on the LAN and down.
host() {
    ip netns add "$1"
    ip -n "$1" link set lo up
    plug "$1" 0
}

# Adds another interface, $1-$2, to the host $1.
plug() {
    ip link add "lan-$1-$2" type veth peer name "$1-$2" netns "$1"
    ip link set "lan-$1-$2" master lan addrgenmode none up
}

# Runs a command on the host $1.
on() {
    host=$1
    shift
    ip netns exec "$host" "$@"
}

# Prints the network configuration of the host $1: interfaces, addresses, routes, and the settings of addresses.
network_of() {
    # Not whether a queue has ever been used.
    on "$1" ip -o link | sed 's/ qdisc [a-z]*//'
    on "$1" ip -o address | sed 's/valid_lft.*//'
    on "$1" ip -4 route
    on "$1" ip -6 route
    on "$1" sh -c 'grep -s . /proc/sys/net/ipv6/conf/*/*_dad /proc/sys/net/ipv6/conf/*/use_optimistic \
        /proc/sys/net/ipv6/neigh/*/retrans_time_ms' || true
}

# Brings up the interface of the host $1, and starts a bus and an Avahi there.
announcer() {
    mkdir -p "/run/$1"
    ip -n "$1" link set "$1-0" up
    cat >"/run/$1/bus.conf" <<END
<busconfig><type>system</type><listen>unix:path=/run/$1/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/>
<allow receive_sender="*"/></policy></busconfig>
END
    printf '[server]\nhost-name=%s\n' "$1" >"/run/$1/avahi.conf"
    on "$1" dbus-daemon --config-file="/run/$1/bus.conf" --nofork --nopidfile 2>"/run/$1/bus.log" &
    eventually test -S "/run/$1/bus"
    DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/$1/bus on "$1" sh -c '
        mkdir -p /run/avahi-daemon "/run/$2/services"
        mount --bind "/run/$2/services" /etc/avahi/services
        mount -t tmpfs tmpfs /run/avahi-daemon
        exec avahi-daemon --no-drop-root --no-chroot --no-rlimits -f "$1"' sh "/run/$1/avahi.conf" "$1" 2>"/run/$1/avahi.log" &
    wait_for "/run/$1/avahi.log" 'Server startup complete'
}

# Starts fifty fake servers on the host $1, announced when its announcer is started; they misbehave in several ways.
bogus_servers() {
    mkdir -p "/run/$1/services"
    for number in $(seq 50); do
        cat >"/run/$1/services/$number.service" <<END
<service-group><name>Bogus $number</name><service><type>_mandos._tcp</type><port>$((5000 + number))</port></service>
</service-group>
END
    done
    openssl req -x509 -newkey ed25519 -nodes -keyout "/run/$1/key" -out "/run/$1/certificate" -subj /CN=bogus 2>/run/openssl
    on "$1" /usr/bin/python3 -c '
import socket, ssl, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1] + "/certificate", sys.argv[1] + "/key")
held = []
def silent(c): held.append(c)
def http(c): c.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n"); c.close()
def tls(c): context.wrap_socket(c, server_side=True)
def endless(c):
    while True: c.sendall(b"x" * 65536)
def serve(listener, behave):
    def safely(c):
        try: behave(c)
        except OSError: pass
    while True: threading.Thread(target=safely, args=(listener.accept()[0],), daemon=True).start()
# One in five has no listener on its port.
for number, behave in enumerate([None, silent, http, tls, endless] * 10, 1):
    if behave is None: continue
    listener = socket.create_server(("::", 5000 + number), family=socket.AF_INET6, dualstack_ipv6=True)
    threading.Thread(target=serve, args=(listener, behave)).start()
' "/run/$1" &
}

# Brings up the interface of the host $1, and announces $2 servers from there that do not exist, $3 in each packet, with $4
# packets a second. Source: RFC 6762, RFC 6763.
flood() {
    ip -n "$1" link set "$1-0" up
    on "$1" /usr/bin/python3 -c '
import socket, struct, sys, time
host, count, batch, rate = sys.argv[1], *map(int, sys.argv[2:])
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", 5353))
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
link = socket.if_nametoindex(host + "-0")
service = b"\7_mandos\4_tcp\5local\0"
def record(number, name):
    label = b"%d-%x" % (number, time.monotonic_ns())
    target = bytes([len(label)]) + label + b"\xc0\x0c"
    return name + struct.pack(">HHIH", 12, 1, 4500, len(target)) + target
begin = time.monotonic()
for packet, first in enumerate(range(0, count, batch)):
    records = b"".join(record(n, b"\xc0\x0c" if n > first else service) for n in range(first, first + batch))
    # Until the address may be used, there is none to send from.
    while True:
        try: s.sendto(struct.pack(">6H", 0, 0x8400, 0, batch, 0, 0) + records, ("ff02::fb", 5353, 0, link)); break
        except OSError: time.sleep(0.1)
    time.sleep(max(begin + packet / rate - time.monotonic(), 0))
' "$@"
}

# Our server on the host $1, which has an announcer, with the clients.conf $2.
serve() {
    mkdir -p -m 700 "/run/$1/configuration" "/run/$1/state"
    cp "$2" "/run/$1/configuration/clients.conf"
    server_host=$1
    shift 2
    DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/$server_host/bus ip netns exec "$server_host" "$MANDOS" \
        --configdir "/run/$server_host/configuration" --statedir "/run/$server_host/state" --foreground \
        --debuglevel INFO "$@" 2>"/run/$server_host/log" &
    echo "$!" >"/run/$server_host/pid"
    wait_for "/run/$server_host/log" ' announced port='
}

# The reference's server, likewise.
serve_reference() {
    mkdir -p -m 777 "/run/$1/configuration" "/run/$1/state"
    cp "$2" "/run/$1/configuration/clients.conf"
    echo '[DEFAULT]' >"/run/$1/configuration/mandos.conf"
    chmod -R a+rwX "/run/$1"
    DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/$1/bus ip netns exec "$1" /usr/bin/python3 "$REFERENCE/usr/sbin/mandos" --debug \
        --configdir "/run/$1/configuration" --statedir "/run/$1/state" --no-dbus 2>"/run/$1/log" &
    wait_for "/run/$1/log" 'established\|Starting main loop'
}

# Has our server on the host $1 use the clients.conf $2.
reload() {
    cp "$2" "/run/$1/configuration/clients.conf"
    kill -HUP "$(cat "/run/$1/pid")"
}

# Ends our server on the host $1.
stop() { kill "$(cat "/run/$1/pid")"; }

# Our client on the host $1, with options.
client() {
    client_host=$1
    shift
    # shellcheck disable=SC2086
    on "$client_host" "$CLIENT" $KEY_OPTIONS --network-hook-dir=/nonexistent "$@"
}

# The reference's client, likewise.
client_of_reference() {
    client_host=$1
    shift
    # It leaves an agent and a directory behind; both end with its namespaces.
    # shellcheck disable=SC2086
    on "$client_host" unshare --fork --pid --kill-child --mount sh -c 'mount -t tmpfs tmpfs /tmp; exec "$@"' sh \
        "$(echo "$REFERENCE"/usr/lib/*/mandos/plugins.d/mandos-client)" $KEY_OPTIONS \
        --network-hook-dir=/nonexistent "$@"
}

# Starts our client on the host $1 in the background, with options; its process ID is $client.
begin_client() {
    client_host=$1
    shift
    # Ordinary Swift, unlike Embedded Swift, handles signals like SIGSEGV, and may go on after one that was sent to it.
    # shellcheck disable=SC2086
    SWIFT_BACKTRACE=enable=no ip netns exec "$client_host" "$CLIENT" $KEY_OPTIONS --network-hook-dir=/nonexistent "$@" \
        >/run/password 2>/run/errors & client=$!
}

# Prints the ID of the client's process of the name $1: mandos-client is the worker, mandos-mdns looks for servers.
part() { pgrep -P "$client" -x "$1"; }
has_part() { part "$1" >/run/none; }

# Prints the value of $2 in the status of process $1.
status() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status" | tr '\t' ' ' | sed 's/ *$//'; }

# Sends hostile packets from the host $1, as hostile_mdns.py does with the other arguments.
hostile() {
    ip -n "$1" link set "$1-0" up
    hostile_host=$1
    shift
    on "$hostile_host" /usr/bin/python3 "$(dirname "$LIBRARY")/hostile_mdns.py" "$hostile_host-0" "$@"
}

# Replaces GnuPG by a script: as long as /run/hang exists, decrypting with it makes an agent have the key, and then hangs.
hanging_gpg() {
    cp /usr/bin/gpg /run/gpg
    cat >/run/script <<'END'
#!/bin/sh
if [ -e /run/hang ]; then
    case $* in *--decrypt*) /run/gpg "$@" >/dev/null; exec sleep 1000 ;; esac
fi
exec /run/gpg "$@"
END
    chmod 755 /run/gpg /run/script
    mount --bind /run/script /usr/bin/gpg
    for other in sqop rsop gosop; do
        [ ! -e "/usr/bin/$other" ] || mount --bind /dev/null "/usr/bin/$other"
    done
    touch /run/hang
}

# Our server on the host $1, with the clients.conf $2; announced by announce.py, so that another host can announce its name.
serve_plainly() {
    ip -n "$1" link set "$1-0" up
    mkdir -p -m 700 "/run/$1/configuration" "/run/$1/state"
    cp "$2" "/run/$1/configuration/clients.conf"
    on "$1" "$MANDOS" --configdir "/run/$1/configuration" --statedir "/run/$1/state" --foreground --no-dbus --port 4711 \
        --no-zeroconf --debuglevel INFO 2>"/run/$1/log" &
    wait_for "/run/$1/log" ' serving'
}

# Announces servers of the host $1, as announce.py does with the other arguments.
announce() {
    announcing_host=$1
    ip -n "$1" link set "$1-0" up
    shift
    on "$announcing_host" /usr/bin/python3 "$(dirname "$LIBRARY")/announce.py" "$announcing_host-0" "$@" &
}

# Starts servers on the host $1 that complete handshakes and then say nothing, at $2 ports from 5000 on.
stalling_servers() {
    clang -o /run/stalling_servers -x c "$(dirname "$LIBRARY")/stalling-servers" -lgnutls -lpthread
    on "$1" /run/stalling_servers 5000 "$2" >/run/stalling &
    eventually grep -q ready /run/stalling
}

# Fails unless the client ends with the password within $1 seconds.
password_within() {
    begin=$(now)
    eventually test -s /run/password || fail "no password: $(tail -5 /run/errors)"
    took=$(($(now) - begin))
    [ "$took" -le "$(($1 * 1000))" ] || fail "only after $took milliseconds"
    wait "$client"
    cat /run/password
}
