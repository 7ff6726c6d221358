import Foundation
import TestSupport
import Testing

/// The bridge to Debian's own askpass, cryptroot-unlock and shell functions, with stand-ins for dmsetup and cryptsetup, which
/// need a device mapper, and for plugin-runner.
@Suite(.needsRoot, .needsReference) struct `mandos-to-cryptroot-unlock and Debian's askpass` {
    private static let program = "mandos-to-cryptroot-unlock"

    /// Takes a password from standard input; if it is the right one, the volume is open.
    private static let cryptsetup = """
        mkdir -p /run/given
        cat >/run/given/$CRYPTTAB_NAME.$CRYPTTAB_TRIED
        [ ! -e /run/hold ] || sleep 1000
        cmp -s /run/right /run/given/$CRYPTTAB_NAME.$CRYPTTAB_TRIED || exit 2
        mkdir -p /sys/block/dm-$CRYPTTAB_NAME/dm
        echo $CRYPTTAB_NAME >/sys/block/dm-$CRYPTTAB_NAME/dm/name

        """

    private static let dmsetup = """
        #!/bin/sh
        for name; do :; done
        [ -e "/sys/block/dm-$name" ] && echo dm-0

        """

    /// Lays out a root file system from the files in `$1`, the reference's in `$2` and our program `$3`, and runs `$4` in it.
    /// cryptsetup is a copy of the shell, since our program looks for a process with that name.
    private static let outside = """
        \(rootOfItsOwn)
        rm -rf $new/usr/lib/cryptsetup $new/usr/lib/mandos
        mkdir -p $new/usr/lib/mandos $new/cryptroot $new/sys/block
        cp -R $2/lib/cryptsetup $new/usr/lib/
        cp $2/usr/share/cryptsetup/initramfs/bin/cryptroot-unlock $new/usr/bin/cryptroot-unlock.real
        cp $1/cryptroot-unlock $1/dmsetup $new/usr/bin/
        cp "$(readlink -f /bin/sh)" $new/usr/sbin/cryptsetup.new
        mv $new/usr/sbin/cryptsetup.new $new/usr/sbin/cryptsetup
        mv $new/usr/bin/dmsetup $new/usr/sbin/dmsetup
        ln -sf busybox $new/usr/bin/usleep
        cp $1/cryptsetup-script $new/run/
        cp $1/plugin-runner $3 $new/usr/lib/mandos/
        chmod 755 $new/usr/bin/cryptroot-unlock $new/usr/sbin/dmsetup $new/usr/lib/mandos/*
        mknod $new/dev/dm-0 b 253 0
        mknod -m 666 $new/dev/zero c 1 5
        exec chroot $new /bin/sh -c "$4"
        """

    /// `volume NAME TRIED` asks and unlocks, as `setup_mapping` does; its status is that of cryptsetup.
    private static let inside = """
        set -eu
        \(shellWaiting)
        cd /
        printf right >/run/right
        cp /run/right /run/stored
        printf 'root /dev/a none luks\\nhome /dev/b none luks\\n' >/cryptroot/crypttab
        touch -d '1 hour' /cryptroot/crypttab
        pidfile=/run/\(program).pid
        start() {
            /lib/mandos/\(program) 2>/run/errors &
            ours=$!
            eventually [ -s $pidfile ]
        }
        volume() {
            export CRYPTTAB_NAME=$1 CRYPTTAB_TRIED=$2
            /lib/cryptsetup/askpass "Please unlock disk $1: " </dev/null | /sbin/cryptsetup /run/cryptsetup-script
        }
        stop() { kill "$(cat $pidfile)"; wait $ours && status=0 || status=$?; [ $status = 143 ] && [ ! -e $pidfile ]; }
        directly() { [ ! -e /run/called ]; }
        type() { printf %s "$1" >/lib/cryptsetup/passfifo; }

        """

    private func inRoot(_ body: String) async throws -> (status: Int32, output: String, errors: String) {
        let wrapper = "echo called >>/run/called\nexec /bin/busybox ash /usr/bin/cryptroot-unlock.real\n"
        let directory = try TemporaryDirectory([
            "cryptsetup-script": Self.cryptsetup, "dmsetup": Self.dmsetup,
            "plugin-runner": "#!/bin/sh\necho run >>/run/runs\ncat /run/stored\n",
            "cryptroot-unlock": "#!/bin/sh\n" + wrapper,
        ])
        let result = try await runInNamespaces(
            Self.outside,
            ["sh", directory.path, Reference.root, Place.program(Self.program), Self.inside + body])
        return (result.status, String(decoding: result.output, as: UTF8.self), result.errors)
    }

    @Test func `answers one volume after the other without cryptroot-unlock, and ends with the initramfs`() async throws
    {
        let result = try await inRoot(
            """
            start
            volume root 0
            volume home 0
            directly
            [ "$(wc -l </run/runs)" = 1 ]
            tail /run/errors
            # As run-init does before it starts the system.
            rm -r /lib/cryptsetup
            wait $ours
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.isEmpty)
    }

    @Test func `gives a volume each password once, and the person at the console the next prompt`() async throws {
        let result = try await inRoot(
            """
            printf wrong >/run/stored
            start
            ! volume root 0 || exit 3
            volume root 1 &
            eventually grep -q 'root has refused the password' /run/errors
            # It would have been given by now.
            runs() { [ "$(wc -l </run/runs)" -ge 3 ]; }
            eventually runs
            type right
            wait $!
            volume home 0 || home=$?
            [ $home = 2 ]
            stop
            directly
            cd /run/given
            for file in *; do echo "$file $(cat $file)"; done
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == "home.0 wrong\nroot.0 wrong\nroot.1 right\n")
    }

    @Test func `gives every byte, and a long password through cryptroot-unlock`() async throws {
        let result = try await inRoot(
            #"""
            printf '\na\0\\b \377\n' >/run/right
            cp /run/right /run/stored
            start
            volume root 0
            stop
            directly
            rm -r /sys/block/dm-root
            head -c 5000 /dev/zero >/run/right
            cp /run/right /run/stored
            start
            volume root 0
            stop
            ! directly
            """#)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test func `writes into nothing but a FIFO`() async throws {
        let result = try await inRoot(
            """
            rm /run/stored
            mkfifo /run/stored
            start
            volume root 0 &
            eventually [ -p /lib/cryptsetup/passfifo ]
            # Not before our program has found the prompt.
            sleep 1
            rm /lib/cryptsetup/passfifo
            echo file >/lib/cryptsetup/passfifo
            cat /run/right >/run/stored
            # Which is tried after a few times.
            eventually [ -e /run/called ]
            cat /lib/cryptsetup/passfifo
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == "file\n")
    }

    @Test func `waits for a cryptsetup that starts later`() async throws {
        let result = try await inRoot(
            """
            volume() {
                export CRYPTTAB_NAME=$1 CRYPTTAB_TRIED=0
                /lib/cryptsetup/askpass x </dev/null | { sleep 0.15; exec /sbin/cryptsetup /run/cryptsetup-script; }
            }
            start
            volume root
            stop
            cat /run/errors
            """)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.isEmpty)
    }

    @Test func `does not answer what a keyscript asks`() async throws {
        let result = try await inRoot(
            """
            printf stored >/run/stored
            start
            export CRYPTTAB_OPTION_keyscript=/lib/cryptsetup/scripts/decrypt_gnupg-sc
            volume root 0 &
            eventually [ -p /lib/cryptsetup/passfifo ]
            eventually [ -s /run/runs ]
            sleep 2
            type right
            wait $!
            unset CRYPTTAB_OPTION_keyscript
            ! volume home 0 || exit 3
            [ "$(cat /run/given/home.0)" = stored ]
            stop
            directly
            """)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test func `does not start where all volumes have keyscripts`() async throws {
        let result = try await inRoot(
            """
            echo 'root /dev/a none luks,keyscript=/lib/mandos/plugin-runner' >/cryptroot/crypttab
            /lib/mandos/\(Self.program)
            [ ! -e /run/runs ]
            """)
        #expect(result.status == 0)
        #expect(
            result.errors == "\(Self.program): nothing to do: all volumes have keyscripts, see /cryptroot/crypttab\n")
    }
}
