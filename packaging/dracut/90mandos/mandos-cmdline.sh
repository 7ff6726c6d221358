#!/bin/sh
# Reads mandos= and rd.mandos= from the kernel's command line, see dracut.cmdline(7):
#   mandos=off, mandos=0, rd.mandos=0   no Mandos client
#   mandos=debug                        reports what happens
#   mandos=connect:ADDRESS:PORT         asks that server; the network is dracut's, as ip= and rd.neednet= say
# Without systemd, passwords come from plugin-runner then; with systemd, ask-password-mandos.path starts the client.

command -v getargbool >/dev/null || . /lib/dracut-lib.sh

mandos_configuration=/conf/conf.d/mandos/plugin-runner.conf

mandos_options() {
    IFS=,
    # shellcheck disable=SC2046
    set -- $(getarg mandos=)
    unset IFS
    for word; do
        case $word in
            off | 0) return 1 ;;
            "" | 1 | connect) ;;
            debug) echo --debug ;;
            connect:*) echo "--connect=${word#connect:}" ;;
            *) warn "mandos: unknown kernel parameter mandos=$word" ;;
        esac
    done
}

if mandos_found=$(mandos_options) && getargbool 1 rd.mandos && [ -e "$mandos_configuration" ]; then
    mkdir -p /run/mandos
    # shellcheck disable=SC2086
    echo "MANDOS_CLIENT_OPTIONS="$mandos_found >/run/mandos/client.env
    for mandos_option in $mandos_found; do
        echo "--options-for=mandos-client:$mandos_option" >>"$mandos_configuration"
    done
    if [ -x /lib/mandos/plugin-runner ] && [ -e /lib/dracut-crypt-lib.sh ]; then
        # Its function remains, for what people type.
        sed -i 's/^ask_for_password()/dracut_ask_for_password()/' /lib/dracut-crypt-lib.sh
        echo '. /lib/mandos/ask-for-password.sh' >>/lib/dracut-crypt-lib.sh
    fi
fi
