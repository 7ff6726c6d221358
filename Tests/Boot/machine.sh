# shellcheck shell=bash
# Machines: Debian systems with our programs, their disks and their initial RAM disks. Sourced by Tests/Boot/test and
# Benchmarks/bench-boot.

cache=${BOOT_CACHE:-$repository/.build-boot}
base=$cache/bookworm-2
# Those of any such machine; nothing of ours.
base_packages="linux-image-cloud-amd64 initramfs-tools zstd dracut-core cryptsetup-initramfs busybox sqop libavahi-core7
    libgnutls30 udev kmod systemd-sysv dbus iproute2 avahi-daemon fping libsqlite3-0"
make_base() { # [BASE] [PACKAGE]
    local base=${1:-$base}
    [ -e "$base/complete" ] && return
    rm -rf "$base" && mkdir -p "$base"
    echo "making a Debian system${2:+ with $2} (once; some minutes)"
    mmdebstrap --quiet --variant=minbase bookworm "$base/root" --include="$base_packages ${2:-}" >"$base/log" 2>&1 ||
        { cat "$base/log" >&2; exit 1; }
    touch "$base/complete"
}

# Runs this script again, as $BOOT_STAGE "inside", with namespaces and a directory of its own: whatever it starts, mounts and
# writes ends with it, however it ends.
enter_own_world() { # SCRIPT ARGUMENTS...
    BOOT_WORK=$(mktemp --directory)
    local status=0
    BOOT_WORK=$BOOT_WORK BOOT_STAGE=inside unshare --mount --propagation private --net --pid --fork --kill-child \
        --mount-proc "$@" || status=$?
    rm -rf "$BOOT_WORK"
    exit $status
}
if [ "${BOOT_STAGE:-}" = inside ]; then
    work=$BOOT_WORK
    chmod 711 "$work" # the server becomes another user
    ip link set lo up
fi

# The system of a base, in $work/NAME; what is changed there lasts as long as this test.
make_system() { # NAME [BASE]
    local layer=$work/layers/$1
    mkdir -p "$layer" "$work/$1"
    mount -t tmpfs -o mode=755 tmpfs "$layer"
    mkdir "$layer/changes" "$layer/scratch"
    mount -t overlay -o "lowerdir=${2:-$base}/root,upperdir=$layer/changes,workdir=$layer/scratch" overlay "$work/$1"
    printf '%s\n' virtio_pci virtio_blk virtio_net dm-crypt xts aesni_intel ext4 >"$work/$1/etc/initramfs-tools/modules"
    sed -i 's/^MODULES=.*/MODULES=list/' "$work/$1/etc/initramfs-tools/initramfs.conf"
}

install_ours() { # NAME
    make --silent install DESTDIR="$work/$1" >"$work/install.log" 2>&1 || { cat "$work/install.log" >&2; exit 1; }
    chroot "$work/$1" systemd-sysusers 2>/dev/null
}

# Without mount points there, dracut silently makes an image for any machine.
mount_for_images() { # NAME
    mount -t proc proc "$work/$1/proc"
    mount -t sysfs sysfs "$work/$1/sys"
    mount -t tmpfs tmpfs "$work/$1/run"
    mount --rbind /dev "$work/$1/dev"
}

in_machine() { chroot "$machine" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"; }

# The machine that boots with a password from a server, and a server's section for it.
make_client() {
    make_system machine
    install_ours machine
    mount_for_images machine
    machine=$work/machine
    kernel=$(ls "$machine/lib/modules")
    mkdir -p "$work/server/configuration"
    : >"$work/server/log"
    printf 'the password of the disk' >"$work/password"
    generate_keys "$machine/etc/keys/mandos" section
}

# Keys in a directory, and in $work/NAME the section with the password of the disk for them, or the contents of a file.
generate_keys() { # DIRECTORY NAME [FILE]
    mkdir -p -m 700 "$1"
    {
        [ -e "$1/seckey.txt" ] || .build/release/mandos-keygen --dir "$1"
        .build/release/mandos-keygen --dir "$1" --passfile "${3:-$work/password}" --name guest --no-ssh >"$work/$2"
    } 2>"$work/keygen.log" || { cat "$work/keygen.log" >&2; exit 1; }
}

# MARK: Disks

# An encrypted disk, $work/disk.image, made without device-mapper. What boots from it prints the proof.
make_disk() {
    proof=$(head --bytes=12 /dev/urandom | base64 | tr -d /+)
    mkdir -p "$work/disk"/{bin,sbin,dev,etc,proc,sys,run,tmp,usr}
    # Without it, systemd does not take the disk for a system.
    echo ID=test >"$work/disk/etc/os-release"
    cp "$(command -v busybox)" "$work/disk/bin/busybox"
    ldd "$work/disk/bin/busybox" | grep -o '/[^ ]*' | xargs -r cp --dereference --parents --target-directory "$work/disk" || true
    ln -sf busybox "$work/disk/bin/sh"
    cat >"$work/disk/sbin/init" <<END
#!/bin/sh
b=/bin/busybox
\$b mount -t proc proc /proc
\$b mount -t sysfs sysfs /sys 2>/dev/null # which may be there already
\$b echo "volumes:" \$(\$b ls /dev/mapper)
for interface in /sys/class/net/*; do \$b echo "interface \${interface##*/}: \$(\$b cat \$interface/flags)"; done
\$b echo "processes:" \$(\$b grep -l '[m]andos' /proc/[0-9]*/cmdline)
\$b echo "proof: $proof"
\$b sync
\$b poweroff -f
END
    chmod 755 "$work/disk/sbin/init"
    mke2fs -q -t ext4 -d "$work/disk" "$work/disk.image" 48M 2>"$work/disk.log" || { cat "$work/disk.log" >&2; exit 1; }
    encrypt "$work/disk.image"
    disk=$(cryptsetup luksUUID "$work/disk.image")
}

encrypt() { # IMAGE
    truncate --size=+16M "$1"
    cryptsetup reencrypt --encrypt --type luks2 --reduce-device-size 16M --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \
        --key-file "$work/password" --batch-mode "$1" 2>"$work/disk.log" || { cat "$work/disk.log" >&2; exit 1; }
}

# MARK: Images

# The fields of crypttab after the name and the device; "volumes" may name more than the root disk.
image_of_initramfs_tools() { # FIELDS [LINE]
    printf 'root UUID=%s %s\n%s\n' "$disk" "$1" "${2:-}" >"$machine/etc/crypttab"
    in_machine mkinitramfs -o /tmp/image "$kernel" >"$work/image.log" 2>&1 || fail "no image: $(cat "$work/image.log")"
}

image_of_dracut() { # OPTIONS...
    in_machine dracut --force --hostonly --no-hostonly-cmdline --kver "$kernel" --zstd \
        --add-drivers "virtio_pci virtio_blk virtio_net dm-crypt xts aesni_intel ext4" "$@" /tmp/image \
        >"$work/image.log" 2>&1 || fail "no image: $(cat "$work/image.log")"
}

must_have_no_complaint() {
    ! grep -E '^[WE]: |mandos:' "$work/image.log" || fail "a complaint while the image is made"
}
must_complain() { grep -q -- "$1" "$work/image.log" || fail "nothing says \"$1\": $(cat "$work/image.log")"; }
# What is in the image, with modes and the numbers of owners.
contents() { in_machine sh -c 'zstd -dcq /tmp/image | cpio --list --verbose --numeric-uid-gid 2>/dev/null'; }
