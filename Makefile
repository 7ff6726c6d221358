# The only front door. `make` lists what there is.
PREFIX ?= /usr
DESTDIR ?=
LIBDIR ?= $(PREFIX)/lib/$(shell dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo $$(uname -m)-linux-gnu)

SHELL = /bin/bash
SWIFT ?= swift
# Host programs bring the Swift library along and look for nothing beside themselves.
# A target may import only what it names as a dependency.
CHECKED = --explicit-target-dependency-import-check error
RELEASE = $(CHECKED) -c release --static-swift-stdlib --disable-local-rpath -Xswiftc -no-toolchain-stdlib-rpath -Xlinker -s
HOST = .build/release
# On x86-64 what goes into the initramfs is Embedded Swift; elsewhere it is built like the host programs.
ifeq ($(shell uname -m),x86_64)
INITRAMFS = .build-embedded/release
else
INITRAMFS = $(HOST)
endif

# What a test run leaves behind, if it is killed, ends with it; and it signals nobody else's processes.
ifeq ($(shell id -u),0)
# The shell is process 1 there, and collects what has lost its parent.
ISOLATED = unshare --pid --fork --kill-child --mount-proc sh -c '"$$0" "$$@"; exit $$?'
endif

# How many tests run at a time: hundreds that wait would take the processors from those that work.
export SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH = 24

HOST_PROGRAMS = mandos mandos-ctl mandos-keygen
# Plugins that need root for a moment are set-uid.
SETUID_PLUGINS = askpass-fifo mandos-client plymouth splashy usplash
PLUGINS = password-prompt
BOOT_PROGRAMS = mandos-to-cryptroot-unlock password-agent plugin-runner
INITRAMFS_PROGRAMS = $(SETUID_PLUGINS) $(PLUGINS) $(BOOT_PROGRAMS)

.PHONY: help demo test service-test boot-test hostile-lan lint format build build-host build-initramfs bench-server bench-client bench-plugins bench-unlock bench-boot install deb package-test clean

help:
	@echo "make demo      build, and watch a password travel from the server to an encrypted volume"
	@echo "make test      run every test"
	@echo "make service-test  install and run the service on a machine of its own, with systemd (root only)"
	@echo "make boot-test boot emulated machines with encrypted disks, from Debian's initramfs-tools and dracut (root only);"
	@echo "               CASES=quick runs the most important cases, CASES=\"connect typed\" those"
	@echo "make hostile-lan   send a client hostile multicast DNS for a minute (root only)"
	@echo "make lint      check format, imports, sizes, linkage and manual pages"
	@echo "make build     build the programs"
	@echo "make bench-server  measure the server, beside what it should reach"
	@echo "make bench-client  measure how soon a client has its password, beside the reference's"
	@echo "make bench-plugins measure how soon plugin-runner has started its plugins, beside C"
	@echo "make bench-unlock  measure what it costs to pass a password to cryptsetup's prompt"
	@echo "make bench-boot    measure images and boots with our client, beside the reference's (root only)"
	@echo "make install   install them; DESTDIR= and PREFIX=/usr as usual"
	@echo "make deb       build Debian packages of the server and of the client, in .build-deb"
	@echo "make package-test  install, upgrade, downgrade, remove and purge them in a Debian of their own (root only)"
	@echo "make format    put the sources into the project's format"
	@echo "make clean     remove what was built"

demo:
	@scripts/install-dependencies build run
	@echo "building in release mode; the first time takes some minutes"
	@$(MAKE) --no-print-directory build
	@scripts/demo $(HOST) $(INITRAMFS)

test:
	@scripts/install-dependencies build run test
	@scripts/fetch-reference
	$(SWIFT) build --build-tests $(CHECKED)
# "make lint" builds no host programs.
	@scripts/check-manuals .build/debug $(HOST_PROGRAMS) $(INITRAMFS_PROGRAMS)
	@$(ISOLATED) $(SWIFT) test --skip-build 2>&1 | tee .build/test.log; status=$${PIPESTATUS[0]}; \
	    test $$status = 0 || { echo "What failed:"; grep -A 12 "recorded an issue" .build/test.log; }; exit $$status
# It says why if it cannot run here; CI is root.
	@packaging/network-hooks.d/test || { test $$? = 77 && test -z "$$CI"; }
	@test "$$(id -u)" != 0 -a -z "$$CI" || $(MAKE) --no-print-directory build
	@Tests/Service/test || { test $$? = 77 && test -z "$$CI"; }

service-test: build
	@scripts/install-dependencies run test
	@Tests/Service/test

# Half an hour; CASES=quick, a third of that. It says why if it cannot run here; CI can.
boot-test: build
	@scripts/install-dependencies run boot
	@Tests/Boot/test $(CASES) || { test $$? = 77 && test -z "$$CI"; }

hostile-lan: build
	@scripts/install-dependencies run test
	@Tests/Programs/Client/hostile-lan $(HOST)/mandos $(INITRAMFS)/mandos-client $(HOST)/mandos-keygen

lint: build-initramfs
	@scripts/install-dependencies lint
	$(SWIFT) format lint --strict --recursive --parallel Package.swift Sources Tests Benchmarks/Package.swift Benchmarks/Sources
	@scripts/check-imports
	@scripts/check-size
	@scripts/check-unit
	@scripts/check-manuals $(INITRAMFS) $(INITRAMFS_PROGRAMS)
ifeq ($(shell uname -m),x86_64)
	@scripts/check-linkage $(INITRAMFS)
endif

format:
	$(SWIFT) format --in-place --recursive --parallel Package.swift Sources Tests

build: build-host build-initramfs

build-host:
	@scripts/install-dependencies build
	@for program in $(HOST_PROGRAMS); do $(SWIFT) build $(RELEASE) --product $$program || exit; done

build-initramfs:
	@scripts/install-dependencies build
ifeq ($(shell uname -m),x86_64)
	@MANDOS_EMBEDDED=1 $(SWIFT) build $(CHECKED) --scratch-path .build-embedded -c release --disable-local-rpath -Xlinker -s
else
	@for program in $(INITRAMFS_PROGRAMS); do $(SWIFT) build $(RELEASE) --product $$program || exit; done
endif

bench-server: build-host
	$(SWIFT) build -c release --package-path Benchmarks
	@Benchmarks/bench-server $(HOST) Benchmarks/.build/release

bench-client: build
	@scripts/install-dependencies run test
	@scripts/fetch-reference
	@Benchmarks/bench-client $(HOST) $(INITRAMFS)

bench-plugins: build-initramfs
	@Benchmarks/bench-plugins $(INITRAMFS)

bench-unlock: build-initramfs
	@scripts/fetch-reference
	@Benchmarks/bench-unlock $(INITRAMFS)/mandos-to-cryptroot-unlock

bench-boot: build
	@scripts/install-dependencies run boot
	@Benchmarks/bench-boot

# Where the reference's packages put the same programs.
install: build
	install -d -m 755 $(DESTDIR)$(PREFIX)/sbin
	for program in $(HOST_PROGRAMS); do install -m 755 $(HOST)/$$program $(DESTDIR)$(PREFIX)/sbin/ || exit; done
	install -d -m 755 $(DESTDIR)$(LIBDIR)/mandos
	install -d -m 700 $(DESTDIR)$(LIBDIR)/mandos/plugins.d $(DESTDIR)$(LIBDIR)/mandos/plugin-helpers
	cd $(INITRAMFS) && install -m 4755 -t $(abspath $(DESTDIR)$(LIBDIR)/mandos/plugins.d) $(SETUID_PLUGINS)
	cd $(INITRAMFS) && install -m 755 -t $(abspath $(DESTDIR)$(LIBDIR)/mandos/plugins.d) $(PLUGINS)
	cd $(INITRAMFS) && install -m 755 -t $(abspath $(DESTDIR)$(LIBDIR)/mandos) $(BOOT_PROGRAMS)
	install -d -m 755 $(DESTDIR)$(PREFIX)/share/doc/mandos-client/examples/network-hooks.d
	cd packaging/network-hooks.d && install -m 755 -t $(abspath $(DESTDIR)$(PREFIX)/share/doc/mandos-client/examples/network-hooks.d) \
	    bridge openvpn wireguard wireless
	cd packaging/network-hooks.d && install -m 644 -t $(abspath $(DESTDIR)$(PREFIX)/share/doc/mandos-client/examples/network-hooks.d) \
	    README.md *.conf
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/share/initramfs-tools/hooks packaging/initramfs-tools/hooks/mandos
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/initramfs-tools/conf.d packaging/initramfs-tools/conf.d/mandos-conf
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/initramfs-tools/conf-hooks.d packaging/initramfs-tools/conf-hooks.d/zz-mandos
	for directory in init-premount local-premount; do install -D -m 755 -t \
	    $(DESTDIR)$(PREFIX)/share/initramfs-tools/scripts/$$directory packaging/initramfs-tools/scripts/$$directory/mandos || exit; done
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/lib/dracut/modules.d/90mandos packaging/dracut/90mandos/*.sh
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/dracut/modules.d/90mandos packaging/dracut/90mandos/ask-password-mandos.*
	install -d -m 755 $(DESTDIR)/etc/mandos $(DESTDIR)/etc/mandos/network-hooks.d
	install -d -m 700 $(addprefix $(DESTDIR)/etc/,mandos/clients.d mandos/plugins.d mandos/plugin-helpers keys/mandos)
	test -e $(DESTDIR)/etc/mandos/mandos.conf || install -m 644 packaging/etc/mandos.conf $(DESTDIR)/etc/mandos/
	test -e $(DESTDIR)/etc/mandos/clients.conf || install -m 600 packaging/etc/clients.conf $(DESTDIR)/etc/mandos/
	test -e $(DESTDIR)/etc/mandos/plugin-runner.conf || install -m 644 packaging/etc/plugin-runner.conf $(DESTDIR)/etc/mandos/
	test -e $(DESTDIR)/etc/default/mandos || install -D -m 644 packaging/etc/default-mandos $(DESTDIR)/etc/default/mandos
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/systemd/system packaging/systemd/mandos.service packaging/systemd/mandos.socket
	install -D -m 644 packaging/dbus/mandos.conf $(DESTDIR)$(PREFIX)/share/dbus-1/system.d/mandos.conf
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/sysusers.d packaging/sysusers/mandos.conf packaging/sysusers/mandos-client.conf
	install -D -m 644 packaging/tmpfiles/mandos.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/mandos.conf
	install -D -m 755 packaging/import-reference-state $(DESTDIR)$(PREFIX)/share/mandos/import-reference-state
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man5 docs/man/*.5
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man8 docs/man/*.8 docs/man/*.8mandos
	install -d -m 755 $(DESTDIR)$(PREFIX)/share/bash-completion/completions \
	    $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	for program in $(HOST_PROGRAMS); do \
	    $(HOST)/$$program --generate-completion-script bash \
	        >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$program && \
	    $(HOST)/$$program --generate-completion-script zsh \
	        >$(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_$$program && \
	    $(HOST)/$$program --generate-completion-script fish \
	        >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/$$program.fish || exit; done

# Debian packages, without a trace outside .build-deb and debian/.
deb:
	@scripts/install-dependencies build package
	@rm -rf .build-deb && mkdir .build-deb
	DEB_OUTPUT=.build-deb dpkg-buildpackage --build=binary --no-sign --buildinfo-option=-u.build-deb --changes-option=-u.build-deb \
	    --buildinfo-file=.build-deb/mandos.buildinfo --changes-file=.build-deb/mandos.changes
	@lintian --fail-on error,warning .build-deb/mandos.changes

package-test: deb
	@scripts/fetch-reference
	@Tests/Packages/test

clean:
	rm -rf .build .build-deb .build-embedded .build-packages .build-reference
