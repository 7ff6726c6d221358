// swift-tools-version: 6.2
import PackageDescription

// MANDOS_EMBEDDED=1 builds what goes into the initramfs, and nothing else, as Embedded Swift.
// Without it the same sources are ordinary Swift, which is what the tests run.
let embedded = Context.environment["MANDOS_EMBEDDED"] == "1"

let strict: [SwiftSetting] = [
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableUpcomingFeature("InferIsolatedConformances"),
]
let small: [SwiftSetting] =
    strict
    + (embedded
        ? [
            .enableExperimentalFeature("Embedded"),
            .unsafeFlags(["-wmo", "-Osize", "-Xfrontend", "-function-sections"]),
        ] : [])

// Embedded Swift does not name what Unicode-aware strings and floating point need.
let embeddedLibraries: [LinkerSetting] =
    embedded ? [.unsafeFlags(["-use-ld=lld", "-Xlinker", "--icf=all"])] : []

// 6 MB less: nothing is exported, relocations are packed, equal functions are shared unless their address is compared.
let hostProgram: [LinkerSetting] = [
    .unsafeFlags(
        [
            "-use-ld=lld", "-Xlinker", "--no-export-dynamic", "-Xlinker", "--icf=safe", "-Xlinker", "-z", "-Xlinker",
            "pack-relative-relocs",
        ], .when(configuration: .release))
]

let nio = "swift-nio"
// Programs of the initramfs that need the C library and nothing else.
let smallPrograms: [Target] = [
    "askpass-fifo", "mandos-to-cryptroot-unlock", "password-agent", "password-prompt", "plugin-runner", "plymouth",
    "splashy", "usplash",
].map { name in
    .executableTarget(
        name: name, dependencies: ["CMandosSystem", "InitramfsKit", "MandosFormats", "POSIXKit"], swiftSettings: small,
        linkerSettings: embeddedLibraries)
}
let initramfsTargets: [Target] =
    [
        .systemLibrary(name: "CGnuTLS", pkgConfig: "gnutls", providers: [.apt(["libgnutls28-dev"])]),
        .systemLibrary(name: "CAvahiCore", providers: [.apt(["libavahi-core-dev"])]),
        // In the initramfs only who looks up services is to need this library.
        .target(name: "CMandosSystem", linkerSettings: embedded ? [] : [.linkedLibrary("resolv")]),
        .target(name: "MandosFormats", swiftSettings: small),
        .target(
            name: "MandosTLS", dependencies: ["CGnuTLS", "MandosFormats"], swiftSettings: small,
            linkerSettings: [.linkedLibrary("gnutls")]),
        .target(name: "POSIXKit", dependencies: ["CMandosSystem", "MandosFormats"], swiftSettings: small),
        .target(
            name: "InitramfsKit", dependencies: ["CMandosSystem", "MandosFormats", "POSIXKit"], swiftSettings: small),
        .target(
            name: "MandosClient",
            dependencies: ["CAvahiCore", "CMandosSystem", "MandosFormats", "MandosTLS", "POSIXKit"],
            swiftSettings: small,
            linkerSettings: [.linkedLibrary("avahi-core"), .linkedLibrary("avahi-common"), .linkedLibrary("resolv")]),
        .executableTarget(
            name: "mandos-client",
            dependencies: ["CMandosSystem", "InitramfsKit", "MandosClient", "MandosFormats", "MandosTLS", "POSIXKit"],
            swiftSettings: small, linkerSettings: embeddedLibraries),
    ] + smallPrograms
let hostTargets: [Target] = [
    .systemLibrary(name: "CSystemd", pkgConfig: "libsystemd", providers: [.apt(["libsystemd-dev"])]),
    .systemLibrary(name: "CSDBus", pkgConfig: "libsystemd", providers: [.apt(["libsystemd-dev"])]),
    .target(name: "MandosBus", dependencies: ["CSDBus"], swiftSettings: strict),
    .target(
        name: "MandosCore",
        dependencies: [
            "MandosFormats",
            .product(name: "DequeModule", package: "swift-collections"),
            .product(name: "HeapModule", package: "swift-collections"),
        ],
        swiftSettings: strict),
    .target(
        name: "MandosServer",
        dependencies: [
            "CSystemd", "MandosBus", "MandosCore", "MandosFormats", "MandosTLS", "POSIXKit",
            .product(name: "DequeModule", package: "swift-collections"),
            .product(name: "GRDB", package: "GRDB.swift"),
            .product(name: "NIOCore", package: nio), .product(name: "NIOPosix", package: nio),
            .product(name: "Logging", package: "swift-log"),
            .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            .product(name: "UnixSignals", package: "swift-service-lifecycle"),
        ], swiftSettings: strict),
    .executableTarget(
        name: "mandos",
        dependencies: [
            "MandosCore", "MandosFormats", "MandosServer", "MandosTLS", "POSIXKit",
            .product(name: "ArgumentParser", package: "swift-argument-parser"),
            .product(name: "Logging", package: "swift-log"),
            .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            .product(name: "UnixSignals", package: "swift-service-lifecycle"),
        ], swiftSettings: strict, linkerSettings: hostProgram),
    .executableTarget(
        name: "mandos-ctl",
        dependencies: [
            "MandosBus", "MandosFormats", "POSIXKit",
            .product(name: "ArgumentParser", package: "swift-argument-parser"),
        ], swiftSettings: strict, linkerSettings: hostProgram),
    .executableTarget(
        name: "mandos-keygen",
        dependencies: [
            "InitramfsKit", "MandosClient", "MandosFormats", "MandosTLS", "POSIXKit",
            .product(name: "ArgumentParser", package: "swift-argument-parser"),
        ], swiftSettings: strict, linkerSettings: hostProgram),
]
// The programs that the tests run.
let testedPrograms: [Target.Dependency] = [
    "askpass-fifo", "mandos", "mandos-client", "mandos-ctl", "mandos-keygen", "mandos-to-cryptroot-unlock",
    "password-agent", "password-prompt", "plugin-runner", "plymouth", "splashy", "usplash",
]
let testTargets: [Target] = [
    // What more than one test target uses.
    .target(
        name: "TestSupport", dependencies: ["CMandosSystem", "MandosCore", "MandosFormats", "MandosTLS"],
        path: "Tests/TestSupport", swiftSettings: strict),
    .testTarget(name: "MandosFormatsTests", dependencies: ["MandosFormats", "TestSupport"], swiftSettings: strict),
    .testTarget(name: "MandosTLSTests", dependencies: ["MandosFormats", "MandosTLS"], swiftSettings: strict),
    .testTarget(
        name: "MandosCoreTests", dependencies: ["MandosCore", "MandosFormats", "TestSupport"], swiftSettings: strict),
    .testTarget(name: "MandosBusTests", dependencies: ["MandosBus"], swiftSettings: strict),
    .testTarget(name: "MandosTests", dependencies: ["mandos", "MandosCore"], swiftSettings: strict),
    .testTarget(
        name: "MandosServerTests",
        dependencies: [
            "MandosCore", "MandosFormats", "MandosServer", "MandosTLS", "TestSupport",
            .product(name: "GRDB", package: "GRDB.swift"),
            .product(name: "Logging", package: "swift-log"),
            .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            .product(name: "NIOConcurrencyHelpers", package: nio), .product(name: "NIOCore", package: nio),
            .product(name: "NIOEmbedded", package: nio),
        ], swiftSettings: strict),
    .testTarget(
        name: "MandosClientTests", dependencies: ["MandosClient", "MandosFormats", "POSIXKit", "TestSupport"],
        swiftSettings: strict),
    .testTarget(
        name: "MandosKeygenTests", dependencies: ["mandos-keygen", "MandosFormats", "TestSupport"],
        swiftSettings: strict),
    .testTarget(name: "PasswordAgentTests", dependencies: ["password-agent"], swiftSettings: strict),
    .testTarget(
        name: "MandosToCryptrootUnlockTests", dependencies: ["mandos-to-cryptroot-unlock", "MandosFormats"],
        swiftSettings: strict),
    .testTarget(name: "POSIXKitTests", dependencies: ["MandosFormats", "POSIXKit"], swiftSettings: strict),
    // Whole programs, from outside.
    .testTarget(
        name: "ProgramTests",
        dependencies: testedPrograms + ["MandosTLS", "TestSupport", .product(name: "GRDB", package: "GRDB.swift")],
        path: "Tests/Programs",
        exclude: [
            "announce.py", "hostile-lan", "hostile_mdns.py", "lan.sh", "stalling-servers", "system_call.py",
        ].map { "Client/" + $0 },
        swiftSettings: strict),
    // The same programs with the reference implementation, Plymouth and cryptsetup's scripts as peers.
    .testTarget(
        name: "InteropTests", dependencies: testedPrograms + ["TestSupport"], path: "Tests/Interop",
        swiftSettings: strict),
]

let package = Package(
    name: "mandos",
    // For Benchmarks/, a package of its own.
    products: ["MandosFormats", "MandosTLS", "POSIXKit"].map { .library(name: $0, targets: [$0]) },
    dependencies: embedded
        ? []
        : [
            .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
            .package(url: "https://github.com/apple/swift-collections", exact: "1.6.0"),
            .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
            .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
            .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
            .package(url: "https://github.com/swift-server/swift-service-lifecycle", exact: "2.13.0"),
            // Only the packages above use these; here, they have a version.
            .package(url: "https://github.com/apple/swift-async-algorithms.git", exact: "1.1.4"),
            .package(url: "https://github.com/apple/swift-atomics.git", exact: "1.3.0"),
            .package(url: "https://github.com/apple/swift-system.git", exact: "1.8.1"),
        ],
    targets: embedded ? initramfsTargets : initramfsTargets + hostTargets + testTargets
)
