# shellcheck shell=bash
# One function for each case. Sourced by Tests/Boot/test.

# What CI runs: each way into an image, each way to a server, a machine that must not boot, and a server that is rebooted.
quick=(connect zeroconf keyscript disabled dracut_systemd dracut_plain without_need server_machine)
all=(connect zeroconf keyscript typed off disabled wrong_key wrong_password hook two_disks dracut_systemd dracut_plain
    without_need bad_images server_machine)

readonly server_address=10.0.2.2:4711
readonly ipv4="ip=10.0.2.15::10.0.2.2:255.255.255.0::eth0:none"
plugin_runner() { (cd "$machine" && echo usr/lib/*/mandos/plugin-runner | sed 's,^,/,'); }

# MARK: Machines that boot by themselves

case_connect() {
    image_of_initramfs_tools "none luks,initramfs"
    must_have_no_complaint
    serve ::ffff:127.0.0.1 section ""
    boot "mandos=connect:$server_address $ipv4"
    must_have_booted
    must_have_sent
    # Nobody but the Mandos user reads the keys.
    local user
    user=$(in_machine id -u _mandos)
    contents >"$work/contents"
    [ "$(grep -c "^-rw------- *1 $user .* conf/conf.d/mandos/\(seckey.txt\|tls-privkey.pem\)$" "$work/contents")" = 2 ] ||
        fail "the keys in the image: $(grep conf.d/mandos "$work/contents")"
    [ "$(stat -c %A "$machine/tmp/image" | cut -c 8-)" = --- ] || fail "everybody can read the image"
}

# Link-local addresses only, and no word about the server anywhere.
case_zeroconf() {
    image_of_initramfs_tools "none luks,initramfs"
    serve_on_lan section ""
    on_lan 1
    boot ""
    network=("${on_user_network[@]}")
    must_have_booted
    must_have_sent
    # It was down before us.
    must_have_said "interface eth0: 0x1002"
}

case_keyscript() {
    image_of_initramfs_tools "none luks,initramfs,keyscript=$(plugin_runner)"
    must_have_no_complaint
    serve ::ffff:127.0.0.1 section ""
    boot "mandos=connect:$server_address $ipv4"
    must_have_booted
    must_have_sent
}

# The packaged example of a network hook, set up as its documentation says.
case_hook() {
    local directory=$machine/etc/mandos/network-hooks.d
    mkdir -p "$directory"
    cp "$machine"/usr/share/doc/mandos-client/examples/network-hooks.d/bridge "$directory"
    printf 'BRIDGE=br0\nPORTS=eth0\n' >"$directory/bridge.conf"
    echo "--options-for=mandos-client:--interface=br0" >"$machine/etc/mandos/plugin-runner.conf"
    image_of_initramfs_tools "none luks,initramfs"
    must_have_no_complaint
    serve_on_lan section ""
    on_lan 1
    boot ""
    network=("${on_user_network[@]}")
    rm -r "$directory" "$machine/etc/mandos/plugin-runner.conf"
    must_have_booted
    must_have_sent
    must_have_said "interface eth0: 0x1002"
    ! grep -aq "interface br0" "$work/console" || fail "the bridge is there in the booted system"
}

case_two_disks() {
    mke2fs -q -t ext4 "$work/second.image" 16M 2>"$work/disk.log"
    encrypt "$work/second.image"
    image_of_initramfs_tools "none luks,initramfs" \
        "second UUID=$(cryptsetup luksUUID "$work/second.image") none luks,initramfs"
    serve ::ffff:127.0.0.1 section ""
    disks=(-drive "file=$work/second.image,if=virtio,format=raw,snapshot=on")
    boot "mandos=connect:$server_address $ipv4"
    disks=()
    must_have_booted
    must_have_said "volumes: control root second"
}

case_dracut_systemd() {
    image_of_dracut --add "mandos crypt systemd"
    must_have_no_complaint
    serve ::1 section ""
    boot "rd.luks.name=$disk=root mandos=connect:[fec0::2]:4711"
    must_have_booted
    must_have_sent
}

case_dracut_plain() {
    image_of_dracut --add "mandos crypt" --omit "systemd systemd-initrd dracut-systemd systemd-ask-password"
    must_have_no_complaint
    serve ::1 section ""
    root=/dev/mapper/luks-$disk boot "rd.luks.uuid=$disk mandos=connect:[fec0::2]:4711"
    must_have_booted
    must_have_sent
}

# MARK: Machines at which somebody types

# A server that refuses keeps nobody from typing.
case_typed() {
    image_of_initramfs_tools "none luks,initramfs"
    serve ::ffff:127.0.0.1 section "enabled = no"
    typed=$(cat "$work/password") boot "mandos=connect:$server_address,debug,nonsense $ipv4"
    must_have_booted
    must_not_have_sent
    must_have_said "unknown kernel parameter mandos=nonsense"
    ! grep -aq "mandos=debug" "$work/console" || fail "debug is unknown"
}

case_off() {
    image_of_initramfs_tools "none luks,initramfs"
    serve ::ffff:127.0.0.1 section ""
    typed=$(cat "$work/password") boot "mandos=off,connect:$server_address $ipv4"
    must_have_booted
    ! grep -q 'peer.address' "$work/server/log" || fail "the client asked all the same"
}

case_wrong_password() {
    printf 'of another disk' >"$work/other-password"
    generate_keys "$machine/etc/keys/mandos" wrong-section "$work/other-password"
    image_of_initramfs_tools "none luks,initramfs"
    serve ::ffff:127.0.0.1 wrong-section ""
    typed=$(cat "$work/password") prompt='bad password' boot "mandos=connect:$server_address $ipv4"
    must_have_booted
    must_have_sent
}

# MARK: Machines that must not boot

refusal="it has no secret for us"
case_disabled() {
    image_of_initramfs_tools "none luks,initramfs"
    serve ::ffff:127.0.0.1 section "enabled = no"
    stop_at=$refusal boot "mandos=connect:$server_address $ipv4"
    must_have_said "$refusal"
    must_not_have_booted
}

case_wrong_key() {
    generate_keys "$work/other-keys" other-section
    image_of_initramfs_tools "none luks,initramfs"
    serve ::ffff:127.0.0.1 other-section ""
    stop_at=$refusal boot "mandos=connect:$server_address $ipv4"
    must_have_said "$refusal"
    must_not_have_sent
    must_not_have_booted
}

# MARK: Images

# A host without keys and encrypted disks gets no program of ours, no keys, and not a word; initramfs-tools copies all its scripts.
case_without_need() {
    mv "$machine/etc/keys/mandos" "$work/keys"
    : >"$machine/etc/crypttab"
    in_machine mkinitramfs -o /tmp/image "$kernel" >"$work/image.log" 2>&1 || fail "no image: $(cat "$work/image.log")"
    mv "$work/keys" "$machine/etc/keys/mandos"
    ! grep -i mandos "$work/image.log" || fail "a complaint"
    contents >"$work/contents"
    grep -q bin/busybox "$work/contents" || fail "there is no image"
    ! grep 'lib/mandos\|conf.d/mandos/\|sqop' "$work/contents" || fail "something of ours is in the image"
}

# What would make a machine at which nobody can boot without typing is said when the image is made.
case_bad_images() {
    local keys=$machine/etc/keys/mandos hidden=$work/hidden
    mv "$keys" "$hidden"
    image_of_initramfs_tools "none luks,initramfs"
    must_complain "there are no keys in /etc/keys/mandos; make them with mandos-keygen"
    cp -r "$hidden" "$keys"
    : >"$keys/seckey.txt"
    image_of_initramfs_tools "none luks,initramfs"
    must_complain "seckey.txt is missing, empty or not readable"
    image_of_dracut --add "crypt systemd"
    must_complain "keys are missing"
    rm -r "$keys" && mv "$hidden" "$keys"

    mount --bind /dev/null "$machine/usr/bin/sqop"
    image_of_initramfs_tools "none luks,initramfs"
    must_complain "there is no program that decrypts"
    image_of_dracut --add "crypt systemd"
    must_complain "no program decrypts"
    umount "$machine/usr/bin/sqop"

    sed -i /virtio_net/d "$machine/etc/initramfs-tools/modules"
    mount -t tmpfs tmpfs "$machine/sys/class/net" 2>/dev/null || true # not the drivers of this host either
    image_of_initramfs_tools "none luks,initramfs"
    umount "$machine/sys/class/net"
    must_complain "no network driver is in this image"
    echo virtio_net >>"$machine/etc/initramfs-tools/modules"

    # A full /boot leaves the image that boots.
    mkdir "$work/boot"
    mount -t tmpfs -o size=40M tmpfs "$work/boot"
    cp "$machine/boot/config-$kernel" "$work/boot"
    mount --bind "$work/boot" "$machine/boot"
    in_machine update-initramfs -c -k "$kernel" >"$work/image.log" 2>&1 || fail "no image: $(cat "$work/image.log")"
    local before
    before=$(sha256sum <"$machine/boot/initrd.img-$kernel")
    dd if=/dev/zero of="$machine/boot/full" 2>"$work/dd.log" || true
    ! in_machine update-initramfs -u -k "$kernel" >"$work/image.log" 2>&1 || fail "a full /boot is success"
    [ "$(sha256sum <"$machine/boot/initrd.img-$kernel")" = "$before" ] || fail "the image was lost"
    umount "$machine/boot"
}

# MARK: The server's own machine

# A Debian system with our service as README installs it, systemd and Avahi; on its second disk, commands for each boot.
make_server_machine() {
    make_system host
    install_ours host
    local host=$work/host
    # Before anybody runs it: no address but the link-local one.
    printf '[Match]\nName=eth0\n[Network]\nLinkLocalAddressing=ipv6\n' >"$host/etc/systemd/network/eth0.network"
    echo host >"$host/etc/hostname"
    printf '/dev/vda / ext4 defaults 0 1\n' >"$host/etc/fstab"
    { cat "$work/section"; echo "checker = true"; } >"$host/etc/mandos/clients.d/guest.conf"
    chmod 600 "$host/etc/mandos/clients.d/guest.conf"
    echo 'DAEMON_ARGS="--debuglevel INFO"' >"$host/etc/default/mandos"
    chroot "$host" systemd-tmpfiles --create mandos.conf >"$work/tmpfiles.log" 2>&1 || true
    for unit in mandos systemd-networkd avahi-daemon; do
        chroot "$host" systemctl enable "$unit" >"$work/enable.log" 2>&1 || fail "$(cat "$work/enable.log")"
    done
    # What an operator does at each of three boots, and what is then known on the console.
    cat >"$host/root/operator" <<'END'
#!/bin/sh
exec >/dev/console 2>&1
served() { journalctl --boot --unit mandos | grep -c 'secret sent'; }
until systemctl is-active --quiet mandos avahi-daemon && journalctl --boot --unit mandos | grep -q 'announced port='; do
    sleep 1
done
boot=$(cat /root/boots 2>/dev/null || echo 1)
echo $((boot + 1)) >/root/boots
sync
mandos-ctl
echo "host: boot $boot: serving"
case $boot in
    1) until [ "$(served)" -ge 1 ]; do sleep 1; done; echo "host: rebooting"; systemctl reboot ;;
    2) until [ "$(served)" -ge 1 ]; do sleep 1; done; mandos-ctl --disable guest && echo "host: disabled" ;;
esac
END
    chmod 755 "$host/root/operator"
    printf '[Service]\nExecStart=/root/operator\n[Install]\nWantedBy=multi-user.target\n' \
        >"$host/etc/systemd/system/operator.service"
    chroot "$host" systemctl enable operator >"$work/enable.log" 2>&1
    local machine=$host
    : >"$host/etc/crypttab"
    in_machine mkinitramfs -o /tmp/image "$kernel" >"$work/image.log" 2>&1 || fail "no image: $(cat "$work/image.log")"
    mv "$host/tmp/image" "$work/host-image"
    mke2fs -q -t ext4 -d "$host" "$work/host.image" 2G 2>"$work/disk.log" || fail "$(cat "$work/disk.log")"
}

start_host() {
    on_lan 2
    start_machine host-console -m 1024 -initrd "$work/host-image" \
        -append "root=/dev/vda rw console=ttyS0 net.ifnames=0 panic=5" \
        -drive "file=$work/host.image,if=virtio,format=raw,cache=writeback" "${network[@]}"
    host_process=$emulator
}
host_must_say() { eventually "the server's machine does not say \"$1\"" grep -aq "host: $1" "$work/host-console"; }

case_server_machine() {
    stop_serving
    image_of_initramfs_tools "none luks,initramfs"
    make_server_machine

    start_host
    host_must_say "boot 1: serving"
    on_lan 1 && boot ""
    must_have_booted
    host_must_say "rebooting"
    wait "$host_process" || true

    start_host
    host_must_say "boot 2: serving"
    on_lan 1 && boot ""
    must_have_booted
    host_must_say "disabled"
    # The power fails.
    { kill -KILL "$host_process" && wait "$host_process"; } 2>/dev/null || true

    start_host
    host_must_say "boot 3: serving"
    on_lan 1
    stop_at=$refusal boot ""
    must_have_said "$refusal"
    must_not_have_booted
    end_machine "$host_process"
    network=("${on_user_network[@]}")
}
