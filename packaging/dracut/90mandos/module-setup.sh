#!/bin/bash
# Puts the Mandos client into an initramfs made by dracut(8), which reads this file. It needs this machine's keys, so it is
# part of images for this machine only (hostonly).
# shellcheck disable=SC2154  # dracut's variables

mandos_keys() {
    local directory file
    for directory in /etc/keys/mandos /etc/mandos/keys; do
        for file in seckey.txt pubkey.txt tls-privkey.pem tls-pubkey.pem; do
            [[ -s $dracutsysrootdir$directory/$file && -r $dracutsysrootdir$directory/$file ]] || continue 2
        done
        echo "$directory"
        return 0
    done
    return 1
}

mandos_programs() {
    local directory
    for directory in "$dracutsysrootdir"/usr/lib/{*,.}/mandos "$dracutsysrootdir"/usr/local/lib/*/mandos; do
        [[ -x $directory/plugin-runner ]] && echo "${directory#"$dracutsysrootdir"}" && return 0
    done
    return 1
}

# The OpenPGP programs to copy: the first one that can use the keys.
mandos_decryption() {
    local keys=$1 name path
    for name in sqop rsop gosop; do
        path=$(type -P "$name") || continue
        [[ $(echo trial | "$path" encrypt --no-armor "$keys/pubkey.txt" 2>/dev/null |
            "$path" decrypt "$keys/seckey.txt" 2>/dev/null) == trial ]] && echo "$path" && return 0
    done
    [[ -x /usr/bin/gpg && -x /usr/bin/gpg-agent ]] && echo "/usr/bin/gpg /usr/bin/gpg-agent"
}

check() {
    # Keys of one machine do not belong into an image for all.
    [[ $hostonly ]] || return 1
    mandos_programs >/dev/null || { dwarn "mandos: plugin-runner is not installed"; return 1; }
    mandos_keys >/dev/null || {
        dwarn "mandos: keys are missing in /etc/keys/mandos; make them with mandos-keygen. This image has no Mandos client"
        return 1
    }
    mandos_decryption "$(mandos_keys)" >/dev/null || {
        dwarn "mandos: no program decrypts the password; install sqop, or gpg and gpg-agent. This image has no Mandos client"
        return 1
    }
}

depends() { echo crypt; }

installkernel() {
    local driver
    # Also those of network hooks.
    for driver in "$dracutsysrootdir"/sys/class/net/*/device/driver/module; do
        [[ -e $driver ]] && hostonly='' instmods "$(basename "$(readlink -f "$driver")")"
    done
    for driver in $(mandos_hooks modules); do hostonly='' instmods "$driver"; done
    return 0
}

# What the network hooks print for $1, "files" or "modules", for all that do not fail.
mandos_hooks() {
    local hook
    for hook in "$dracutsysrootdir"/etc/mandos/network-hooks.d/*; do
        [[ ${hook##*/} == *[!A-Za-z0-9_.-]* || ! -f $hook ]] && continue
        # Configuration of hooks.
        [[ -x $hook ]] || { [[ $1 == modules ]] || echo "$hook"; continue; }
        MANDOSNETHOOKDIR=/etc/mandos/network-hooks.d MODE=$1 VERBOSITY=0 "$hook" "$1" </dev/null ||
            dwarn "mandos: the network hook $hook failed when it was asked for its $1"
        [[ $1 == modules ]] || echo "$hook"
    done
}

mandos_install_hooks() {
    local file
    mkdir -p "$initdir/lib/mandos/network-hooks.d"
    while read -r file; do
        case $file in
            "") ;;
            /etc/mandos/network-hooks.d/*) inst "$file" "/lib/mandos/network-hooks.d/${file##*/}" ;;
            *) inst "$file" ;;
        esac || dwarn "mandos: $file, which a network hook needs, was not copied"
    done < <(mandos_hooks files)
}

mandos_install_keys() {
    local keys=$1 user=$2 group=$3 file conf=$initdir/conf/conf.d/mandos
    mkdir -p "$conf"
    for file in seckey.txt pubkey.txt tls-privkey.pem tls-pubkey.pem dhparams.pem; do
        [[ $file == dhparams.pem && ! -s $dracutsysrootdir$keys/$file ]] && continue
        command install -m 600 -o "$user" -g "$group" "$dracutsysrootdir$keys/$file" "$conf/$file" ||
            dfatal "mandos: $keys/$file was not copied"
    done
    # The administrator's settings follow ours, and win.
    { echo "--userid=$user"; echo "--groupid=$group"; cat "$dracutsysrootdir"/etc/mandos/plugin-runner.conf 2>/dev/null; } \
        >"$conf/plugin-runner.conf"
    echo "PASSWORD_AGENT_OPTIONS=--user=$user --group=$group" >"$conf/password-agent.env"
    chmod a+r "$conf/plugin-runner.conf" "$conf/password-agent.env"
}

install() {
    local programs keys account user group plugin name
    programs=$(mandos_programs) keys=$(mandos_keys) || return
    account=$(getent passwd _mandos || getent passwd mandos || echo x:x:65534:65534)
    IFS=: read -r _ _ user group _ <<<"$account"
    mkdir -p "$initdir"/lib/mandos/{plugins.d,plugin-helpers,network-hooks.d}
    # shellcheck disable=SC2046
    inst_multiple $(mandos_decryption "$keys")
    mandos_install_keys "$keys" "$user" "$group"
    mandos_install_hooks
    # shellcheck disable=SC2154
    inst_hook cmdline 20 "$moddir/mandos-cmdline.sh"

    # The administrator's own plugins and helpers replace ours.
    local wanted=(mandos-client)
    dracut_module_included systemd || wanted+=(password-prompt)
    ! dracut_module_included systemd && dracut_module_included plymouth && wanted+=(plymouth)
    for name in "${wanted[@]}"; do
        inst "$programs/plugins.d/$name" "/lib/mandos/plugins.d/$name" || dfatal "mandos: $name was not copied"
    done
    for plugin in "$dracutsysrootdir"/etc/mandos/plugin{s.d,-helpers}/*; do
        [[ ${plugin##*/} == *[!A-Za-z0-9_-]* || ! -f $plugin || ! -x $plugin ]] && continue
        name=/lib${plugin#"$dracutsysrootdir"/etc}
        rm -f "$initdir$name"
        inst "$plugin" "$name"
    done
    if dracut_module_included systemd; then
        inst "$programs/password-agent" /lib/mandos/password-agent
        inst_simple "$moddir/ask-password-mandos.path" "$systemdsystemunitdir/ask-password-mandos.path"
        inst_simple "$moddir/ask-password-mandos.service" "$systemdsystemunitdir/ask-password-mandos.service"
        inst_multiple -o "/etc/systemd/system/ask-password-mandos.service.d/*.conf"
        $SYSTEMCTL -q --root "$initdir" add-wants sysinit.target ask-password-mandos.path
    else
        inst "$programs/plugin-runner" /lib/mandos/plugin-runner
        inst_simple "$moddir/mandos-ask-for-password.sh" /lib/mandos/ask-for-password.sh
    fi
    # Plugins run as an ordinary user.
    find "$initdir/conf" "$initdir/lib/mandos/" -type d -exec chmod a+rx {} +
}
