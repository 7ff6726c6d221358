import Foundation
import TestSupport
import Testing

/// Our plymouth with Debian's Plymouth on a pseudo-terminal, since machines that build software have no splash screen.
@Suite(.needsReference, .needsRoot)
struct `Together with Plymouth` {
    private static let script = """
        import os, pty, signal, subprocess, sys, threading, time
        terminal, daemons_end = pty.openpty()
        shown = b""
        def listen():
            global shown
            while True: shown += os.read(terminal, 4096)
        threading.Thread(target=listen, daemon=True).start()
        def until(what, *why):
            for _ in range(6000):
                if what(): return
                time.sleep(0.02)
            raise SystemExit(f"did not see {why}; log: {open('/run/log').read()}; daemons: {daemons()}; shown: {shown!r}")
        def daemons():
            return subprocess.run(["ps", "-C", "plymouthd", "-o", "pid=,stat=,args="], capture_output=True, text=True).stdout
        def process():
            try: return open("/run/plymouth/pid").read()
            except FileNotFoundError: return ""
        def is_there(): return subprocess.run(["plymouth", "--ping"]).returncode == 0
        def ask(disk):
            plugin = subprocess.Popen(
                ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/plugin", "--debug"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=open("/run/log", "a"), env=dict(os.environ, CRYPTTAB_SOURCE="/dev/sda1", CRYPTTAB_NAME=disk))
            until(lambda: f"/dev/sda1 ({disk})".encode() in shown, "a question for", disk)
            return plugin
        os.mkdir("/run/plymouth")
        subprocess.run(
            ["plymouthd", "--mode=boot", "--attach-to-session", "--tty=" + os.ttyname(daemons_end),
             "--pid-file=/run/plymouth/pid", "--kernel-command-line=splash plymouth.ignore-serial-consoles"], check=True)
        subprocess.run(["plymouth", "show-splash"], check=True)

        plugin = ask("root")
        os.write(terminal, b"pass word\\r")
        assert (plugin.communicate(timeout=120)[0], plugin.returncode) == (b"pass word", 0), plugin.returncode

        for number in [signal.SIGTERM, signal.SIGKILL]:
            former = process()
            arguments = open(f"/proc/{int(former)}/cmdline").read().split("\\0")[1:]
            plugin = ask(str(number))
            plugin.send_signal(number)
            assert plugin.wait(120) == -number
            until(lambda: is_there() and process() not in ("", former), "a new daemon")
            assert open(f"/proc/{int(process())}/cmdline").read().split("\\0")[1:] == arguments, daemons()

        plugin = ask("swap")
        os.write(terminal, b"again\\r")
        assert (plugin.communicate(timeout=120)[0], plugin.returncode) == (b"again", 0), plugin.returncode
        """

    @Test func `asks by it, and has it restarted when it is ended while Plymouth asks`() async throws {
        let directory = try TemporaryDirectory(["test.py": Self.script])
        let inside = """
            \(rootOfItsOwn)
            # No display and no console of this machine's.
            mkdir $new/dev/pts
            mount -t devpts -o newinstance,ptmxmode=666 devpts $new/dev/pts
            ln -s pts/ptmx $new/dev/ptmx
            cp -a $3/usr/. $new/usr/
            mkdir $new/etc/plymouth
            # Nor does it wait for one to appear.
            printf '[Daemon]\\nDeviceTimeout=0.5\\n' >$new/etc/plymouth/plymouthd.conf
            cp $1/test.py $new/run/
            cp $2 $new/plugin
            chmod 4755 $new/plugin
            chmod 755 $new
            # Not exec: what loses its parent becomes a child of this shell, which waits for it.
            env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot $new /usr/bin/python3 /run/test.py
            """
        let result = try await runInNamespaces(
            inside, ["sh", directory.path, Place.program("plymouth"), Reference.root])
        #expect(result.status == 0, "\(result.errors)")
    }
}
