#!/bin/sh
# Takes the place of dracut's function of this name, which asks on the console: plugin-runner asks there as well, and at the
# same time it asks Mandos servers. If the command refuses that password, dracut's own function asks.

ask_for_password() {
    mandos_command=$(
        while [ $# -gt 1 ]; do
            case $1 in
                # Not --tty-cmd: that may read from the terminal itself.
                --cmd | --ply-cmd) echo "$2" ;;
            esac
            shift
        done
    )
    # The variables are the caller's; the prompt shows them. Without a password, the command fails.
    # shellcheck disable=SC2154
    if [ -z "$mandos_command" ] ||
        ! CRYPTTAB_SOURCE=$device CRYPTTAB_NAME=$luksname /lib/mandos/plugin-runner | eval "$mandos_command"; then
        dracut_ask_for_password "$@"
    fi
}
