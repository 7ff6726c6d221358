# A machine for tests of the service: systemd as process 1, in namespaces of its own, on a copy of this machine's files.
#
# Everything that is written goes into memory. The copy keeps its files from one boot to the next. To be sourced; the
# variable `repository` is the directory of the sources, which the machine has at the same path.

# Where the machine has the sources too: start-machine brings them from there to their own path, which may be in /tmp.
readonly sources=/mandos-sources
readonly step_limit=300 # seconds, for a command in the machine; the longest is "make install"
readonly wait_limit=120 # seconds, for what should come about by itself

# Becomes root of namespaces that take everything along when this program ends, however it ends.
enter_namespaces() { # PROGRAM
    case ${MACHINE_STAGE:-} in
        "") MACHINE_STAGE=cgroup exec unshare --mount --propagation private "$1" ;;
        cgroup)
            # Process 1 needs a group of its own, which outlives the namespaces and has to be removed here.
            groups=$(mktemp --directory)
            mount -t cgroup2 cgroup2 "$groups"
            find "$groups" -depth -type d -path "$groups/mandos-service-test.*" -exec rmdir {} + 2>/dev/null || true
            MACHINE_GROUP=$groups/mandos-service-test.$$
            mkdir "$MACHINE_GROUP"
            MACHINE_WORK=$(mktemp --directory)
            status=0
            MACHINE_GROUP=$MACHINE_GROUP MACHINE_WORK=$MACHINE_WORK MACHINE_STAGE=inside setpriv --pdeathsig KILL \
                unshare --mount --pid --fork --kill-child --mount-proc "$1" || status=$?
            find "$MACHINE_GROUP" -depth -type d -exec rmdir {} + 2>/dev/null || true
            umount "$groups" && rmdir "$groups" "$MACHINE_WORK"
            exit $status
            ;;
    esac
}

make_machine() {
    work=$MACHINE_WORK # seen empty from outside, since this is another mount namespace
    mount -t tmpfs -o mode=755 tmpfs "$work"
    machine=$work/root
    overlay / "$machine"
    overlay "$repository" "$machine$sources"
    # This machine's own services do not belong to the test.
    rm -rf "$machine/etc/systemd/system" "$machine/var/lib/mandos" "$machine/etc/mandos" "$machine/etc/keys/mandos"
    mkdir -p "$machine/etc/systemd/system"
    for unit in console-getty.service systemd-logind.service systemd-modules-load.service sys-kernel-debug.mount \
        sys-kernel-tracing.mount; do
        ln -s /dev/null "$machine/etc/systemd/system/$unit"
    done
}

overlay() { # DIRECTORY ONTO
    layer=$work/layer$(echo "$1" | tr / _)
    mkdir -p "$layer/changes" "$layer/scratch" "$2"
    mount -t overlay -o "lowerdir=$1,upperdir=$layer/changes,workdir=$layer/scratch" overlay "$2"
}

# Starts the machine, and waits until it has started its services.
boot() {
    (
        echo "$BASHPID" >"$MACHINE_GROUP/cgroup.procs"
        # "container" tells systemd to leave the kernel alone; so do the capabilities.
        exec setpriv --bounding-set -sys_module,-sys_rawio,-sys_time,-syslog \
            unshare --cgroup --mount --pid --net --uts --ipc --fork --kill-child "$repository/Tests/Service/start-machine" \
            "$machine" "$sources" "$repository"
    ) 2>"$work/boot.log" &
    starter=$!
    eventually "the machine did not start" machine_is_up
}

machine_is_up() {
    process_1=$(pgrep --parent "$starter") && on systemctl is-system-running --wait | grep -qE 'running|degraded'
}

# Shuts the machine down as an operator would, and waits for its end.
shut_down() {
    on systemctl poweroff >/dev/null 2>&1 || true # the connection to systemd is lost
    eventually "the machine did not shut down" machine_is_down
    wait "$starter" || true
}

machine_is_down() { ! kill -0 "$starter" 2>/dev/null; }

# Runs a command in the machine.
on() {
    timeout --kill-after=5 $step_limit nsenter --target "$process_1" --all --root --wdns="$repository" \
        env -i PATH="$PATH" HOME=/root LC_ALL=C.UTF-8 CI="${CI:-}" "$@"
}

# Waits until a command succeeds. The machine may be busy: no verdict in less than two minutes.
eventually() { # COMPLAINT COMMAND...
    complaint=$1
    shift
    end=$((SECONDS + wait_limit))
    until "$@" >"$work/last" 2>&1; do
        [ $SECONDS -lt $end ] || fail "$complaint"
        sleep 0.2
    done
}
