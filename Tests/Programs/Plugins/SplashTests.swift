import Foundation
import TestSupport
import Testing

/// The plugins that ask by way of a splash screen, in a small root file system with stand-ins for the splash screens, none
/// of which runs on a machine that builds software.
///
/// The daemons are copies of Python's interpreter, since a process is known by its program; each runs a script that logs
/// its arguments and its environment. The plugins are set-uid root and run as nobody.
@Suite(.needsRoot) struct `Splash screens` {
    private static let root = """
        set -eu
        r=$1/root
        mkdir "$r"
        mount -t tmpfs tmpfs "$r"
        mkdir "$r/usr" "$r/proc" "$r/dev" "$r/sbin" "$r/bin" "$r/lab"
        mount --bind /usr "$r/usr"
        ln -s usr/lib "$r/lib"
        [ ! -d /usr/lib64 ] || ln -s usr/lib64 "$r/lib64"
        mount -t proc proc "$r/proc"
        mount -t tmpfs tmpfs "$r/dev"
        mknod -m 666 "$r/dev/null" c 1 3
        mknod -m 666 "$r/dev/urandom" c 1 9
        chmod 755 "$r"
        # The libraries of Swift, which programs are linked with in tests.
        ldd "$2" | sed -n 's,.* => \\(/.*\\)/[^/]* (.*,\\1,p' | sort -u | while read -r libraries; do
            case $libraries in /lib* | /usr*) continue ;; esac
            mkdir -p "$r$libraries"
            mount --bind "$libraries" "$r$libraries"
        done
        cp "$1/daemon.py" "$1/client" "$1/test.py" "$r/lab"
        chmod -R a+rX "$r/lab"
        cp "$2" "$r/plugin"
        chmod 4755 "$r/plugin"
        # Not exec: what loses its parent becomes a child of this shell, which waits for it.
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$r" /usr/bin/python3 /lab/test.py
        """

    private static let daemon = """
        import os, signal, sys, time
        log = open("/log", "a", buffering=1)
        status = open("/proc/self/status").read().split("\\n")
        ids = [l.split()[1:] for l in status if l.startswith(("Uid", "Gid"))]
        root = ids == [["0"] * 4] * 2
        variables = sorted(k for k in os.environ if k != "LC_CTYPE")
        log.write(f"daemon {sys.argv[1:]} root={root} {variables} leader={os.getsid(0) == os.getpid()} {os.getcwd()}\\n")
        def end(number, frame):
            log.write(f"daemon signal {number}\\n")
            if not os.path.exists("/stubborn"): os._exit(0)
        if "--background" in sys.argv and os.fork(): os._exit(0)
        signal.signal(signal.SIGTERM, end)
        open("/id", "w").write(str(os.getpid()))
        while True: signal.pause()
        """

    private static let client = """
        #!/usr/bin/python3
        import os, signal, sys
        log = open("/log", "a", buffering=1)
        def end(number, frame):
            log.write(f"client signal {number}\\n")
            os._exit(1)
        signal.signal(signal.SIGTERM, end)
        log.write(f"client {sys.argv[1:]} {os.getresuid()} {sorted(k for k in os.environ if k != 'LC_CTYPE')}\\n")
        if sys.argv[1] == "--ping": sys.exit(0 if os.path.exists("/id") else 1)
        if sys.argv[1] == "quit": os.kill(int(open("/id").read()), signal.SIGTERM)
        if sys.argv[1] == "ask-for-password" or sys.argv[1].startswith("getpass"):
            if not os.path.exists("/answer"):
                while True: signal.pause()
            sys.stdout.buffer.write(open("/answer", "rb").read())
            sys.stdout.flush()
            sys.exit(int(open("/status").read()) if os.path.exists("/status") else 0)
        """

    private static let common = """
        import os, shutil, signal, subprocess, time
        import stat
        def program(path, source):
            shutil.copy(source, path)
            os.chmod(path, 0o755)
        # Installs the daemon, and the program that talks to it.
        def stand_in(daemon, client=None):
            program(daemon, os.path.realpath("/usr/bin/python3"))
            if client: program(client, "/lab/client")
        def log():
            return open("/log").read() if os.path.exists("/log") else ""
        def clear():
            open("/log", "w").close()
        def until(what):
            for _ in range(6000):
                if what(): return
                time.sleep(0.02)
            raise SystemExit("did not see it in:\\n" + log())
        def start(path, *arguments):
            # Its parent ends at once, so that it is not our child.
            if os.path.exists("/id"): os.unlink("/id")
            subprocess.run(["/usr/bin/dash", "-c", '"$@" &', "sh", path, "/lab/daemon.py", *arguments], env={"X": "1"})
            until(lambda: os.path.exists("/id") and open("/id").read())
        def nobody():
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.umask(0)
        surroundings = {"cryptsource": "/dev/sda1", "crypttarget": "root", "EVIL": "1"}
        def begin(*arguments, environment=surroundings):
            return subprocess.Popen(
                ["/plugin", *arguments], env=environment, preexec_fn=nobody, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=open("/errors", "w"))
        def run(*arguments, environment=surroundings):
            plugin = begin(*arguments, environment=environment)
            output = plugin.communicate(timeout=120)[0]
            return plugin.returncode, output, open("/errors").read()
        def check(got, expected):
            if got != expected: raise SystemExit(f"got {got!r}\\ninstead of {expected!r}\\nlog:\\n{log()}")
        """

    /// Runs a Python script in the root file system; the test passes if it exits with status 0.
    private func test(_ plugin: String, _ body: String) async throws {
        let directory = try TemporaryDirectory([
            "daemon.py": Self.daemon, "client": Self.client, "test.py": Self.common + "\n" + body,
        ])
        let result = try await runInNamespaces(Self.root, ["sh", directory.path, Place.program(plugin)])
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test func `are left alone where they do not run`() async throws {
        for (plugin, daemon) in [("plymouth", "plymouthd"), ("splashy", "splashy"), ("usplash", "usplash")] {
            try await test(
                plugin,
                """
                status, output, errors = run()
                check((status, output), (69, b""))
                program("/bin/plymouth", "/lab/client")
                status, output, errors = run()
                check((status, output), (69, b""))
                assert errors.startswith("\(plugin): \(daemon) is not running"), errors
                """)
        }
    }

    @Test func `of Plymouth give the password, and are asked as root with nothing of the caller's but the prompt`()
        async throws
    {
        try await test(
            "plymouth",
            """
            stand_in("/sbin/plymouthd", "/bin/plymouth")
            start("/sbin/plymouthd", "--mode=boot")
            clear()
            open("/answer", "wb").write(b"pass word")
            check(run(), (0, b"pass word", ""))
            check(log(), "client ['--ping'] (0, 0, 0) ['PATH']\\n"
                + "client ['ask-for-password', '--prompt=Unlocking the disk /dev/sda1 (root)\\\\nEnter passphrase'] "
                + "(0, 0, 0) ['PATH']\\n")
            for environment, prompt in [
                ({}, "Unlocking the disk\\nEnter passphrase"),
                ({"cryptsource": "a"}, "Unlocking the disk a\\nEnter passphrase"),
                ({"CRYPTTAB_NAME": "b"}, "Unlocking the disk (b)\\nEnter passphrase"),
            ]:
                clear()
                check(run(environment=environment)[0], 0)
                assert repr("--prompt=" + prompt) in log(), log()
            clear()
            check(run("--prompt", "Say it")[0], 0)
            assert "'--prompt=Say it'" in log(), log()
            open("/status", "w").write("3")
            status, output, errors = run()
            check((status, output), (69, b""))
            """)
    }

    @Test func `of Plymouth are restarted with their old arguments if the plugin is ended while they ask`()
        async throws
    {
        try await test(
            "plymouth",
            """
            stand_in("/sbin/plymouthd", "/bin/plymouth")
            start("/sbin/plymouthd", "--mode=boot", "a b", "", "--background")
            for number in [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL]:
                clear()
                former = open("/id").read()
                plugin = begin()
                until(lambda: "ask-for" in log())
                # The client has its handler by the time it logs.
                plugin.send_signal(number)
                check((plugin.communicate(timeout=120)[0], plugin.returncode), (b"", -number))
                until(lambda: "show-splash" in log())
                lines = log().split("\\n")
                check(lines[2:], [
                    "client signal 15",
                    "client ['quit'] (0, 0, 0) ['PATH']",
                    "daemon signal 15",
                    "daemon ['--mode=boot', 'a b', '', '--background'] root=True ['PATH'] leader=True /",
                    "client ['show-splash'] (0, 0, 0) ['PATH']",
                    ""])
                until(lambda: open("/id").read() not in ("", former))
                until(lambda: not os.path.exists("/proc/" + former))
            """)
    }

    @Test func `are known by the file they run, and must be root's`() async throws {
        try await test(
            "splashy",
            """
            program("/lab/splashy", os.path.realpath("/usr/bin/python3"))
            os.symlink("/lab/splashy", "/sbin/splashy")
            program("/sbin/splashy_update", "/lab/client")
            os.chmod("/", 0o777)
            open("/answer", "w").write("secret")
            others = subprocess.Popen(["/sbin/splashy", "/lab/daemon.py"], preexec_fn=nobody)
            until(lambda: os.path.exists("/id"))
            check(run()[0], 69)
            others.kill()
            others.wait()
            os.unlink("/log")
            start("/sbin/splashy")
            check(run(), (0, b"secret", ""))
            """)
    }

    @Test func `of Splashy are restarted for the boot, also those that do not want to end`() async throws {
        try await test(
            "splashy",
            """
            stand_in("/sbin/splashy", "/sbin/splashy_update")
            os.symlink("/lab/daemon.py", "/boot")
            open("/answer", "wb").write(b"pass\\n")
            start("/sbin/splashy", "x")
            clear()
            status, output, errors = run("--debug")
            check((status, output), (0, b"pass\\n"))
            assert errors.startswith('splashy: "--debug": ') and errors.endswith("; it is ignored\\n"), errors
            prompt = "client ['getpass Enter passphrase to unlock the disk /dev/sda1 (root): '] (0, 0, 0) ['PATH']"
            check(log(), prompt + "\\n")
            os.unlink("/answer")
            for stubborn in [False, True]:
                if stubborn: open("/stubborn", "w")
                clear()
                former = open("/id").read()
                plugin = begin()
                until(lambda: "getpass" in log())
                plugin.terminate()
                check(plugin.wait(120), -signal.SIGTERM)
                until(lambda: "root=" in log())
                check(log().split("\\n")[:3], [prompt, "client signal 15", "daemon signal 15"])
                assert "daemon [] root=True ['PATH'] leader=True /" in log(), log()
                until(lambda: not os.path.exists("/proc/" + former))
                until(lambda: open("/id").read() not in ("", former))
            # A daemon that has ended by itself is not started again.
            clear()
            plugin = begin()
            until(lambda: "getpass" in log())
            former = open("/id").read()
            os.kill(int(former), signal.SIGKILL)
            until(lambda: not os.path.exists("/proc/" + former))
            plugin.terminate()
            check(plugin.wait(120), -signal.SIGTERM)
            # Time for a restart that must not happen.
            time.sleep(0.5)
            check(log(), prompt + "\\nclient signal 15\\n")
            """)
    }

    private static let usplash = """
        stand_in("/sbin/usplash")
        os.mkdir("/dev/.initramfs")
        commands, answers = "/dev/.initramfs/usplash_fifo", "/dev/.initramfs/usplash_outfifo"
        os.mkfifo(commands, 0o600)
        os.mkfifo(answers, 0o600)
        start("/sbin/usplash", "-x", "1024")
        question = b"TIMEOUT 0\\0INPUTQUIET Enter passphrase to unlock the disk /dev/sda1 (root): \\0"
        def read_question(fifo):
            said = b""
            while len(said) < len(question): said += fifo.read(4096) or b""
            check(said, question)

        """

    @Test func `of usplash are spoken to through their FIFOs`() async throws {
        try await test(
            "usplash",
            Self.usplash + #"""
                for answer, password in [(b"pass word\0", b"pass word"), (b"pass", b"pass"), (b"a\n", b"a\n"), (b"\0", b"")]:
                    plugin = begin()
                    with open(commands, "rb", buffering=0) as fifo:
                        read_question(fifo)
                        with open(answers, "wb", buffering=0) as fifo2: fifo2.write(answer)
                        check((plugin.communicate(timeout=120)[0], plugin.returncode), (password, 0))
                        check(fifo.read(4096), b"TIMEOUT 15\0")
                """#)
    }

    @Test func `of usplash are restarted when the plugin is ended while they ask`() async throws {
        try await test(
            "usplash",
            Self.usplash + #"""
                for number in [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]:
                    clear()
                    plugin = begin()
                    with open(commands, "rb", buffering=0) as fifo:
                        read_question(fifo)
                        plugin.send_signal(number)
                        until(lambda: "root=" in log())
                        said = b""
                        while not said: said = fifo.read(4096) or b""
                        check(said, b"PULSATE\0")
                    check(plugin.wait(120), -number)
                    check(log(), "daemon signal 15\ndaemon ['-x', '1024'] root=True ['PATH'] leader=True /\n")
                    until(lambda: open("/id").read())
                """#)
    }

    @Test func `of usplash that die while they ask give no answer, and are not restarted`() async throws {
        try await test(
            "usplash",
            Self.usplash + #"""
                for opened in [False, True]:
                    clear()
                    plugin = begin()
                    with open(commands, "rb", buffering=0) as fifo:
                        read_question(fifo)
                        answering = open(answers, "wb", buffering=0) if opened else None
                        os.kill(int(open("/id").read()), signal.SIGKILL)
                        if answering: answering.close()
                        check((plugin.communicate(timeout=120)[0], plugin.returncode), (b"", 69))
                    # Time for a restart that must not happen.
                    time.sleep(0.3)
                    check(log(), "")
                    start("/sbin/usplash", "-x", "1024")
                """#)
    }
}
