// swift-tools-version: 6.2
// One section per room and its tests, top floor first; a room lists the floors that it may import. Last, the rules that
// hold in all of them.

import PackageDescription

let strict: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
  // Checked in debug builds, in which all tests run; here it was a ninth of the instructions of a stored event.
  .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]

let tests: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .treatAllWarnings(as: .error),
]

/// brings the GNU names (ppoll, pwritev2, …) into the Glibc module
let gnu: [CSetting] = [.define("_GNU_SOURCE")]

let package = Package(
  name: "mcp-session-store",
  products: [
    .executable(name: "mcp-session-store", targets: ["mcp-session-store"])
  ],
  dependencies: [],
  targets: [
    .executableTarget(
      name: "mcp-session-store", dependencies: ["Sidecar", "SessionStore", "JSONRPC", "JSON"], cSettings: gnu,
      swiftSettings: strict,
      // A fifth of the file would be debug information; symbols stay, for backtraces.
      linkerSettings: [.unsafeFlags(["-Xlinker", "--strip-debug"], .when(configuration: .release))]),

    .target(
      name: "Sidecar", dependencies: ["SessionStore", "JSONRPC", "Database", "SQLite", "JSON"], swiftSettings: strict),
    .testTarget(
      name: "SidecarTests", dependencies: ["Sidecar", "SessionStore", "JSONRPC", "Database", "SQLite", "JSON"],
      swiftSettings: strict),

    .target(
      name: "SessionStore", dependencies: ["Database", "SQLite", "JSON", "SHA256"], swiftSettings: strict),
    .testTarget(
      name: "SessionStoreTests", dependencies: ["SessionStore", "Database", "SQLite", "JSON", "SHA256"],
      exclude: ["Fixtures"], swiftSettings: strict),

    .target(name: "JSONRPC", dependencies: ["JSON"], swiftSettings: strict),

    .target(name: "Database", dependencies: ["Postgres", "SQLite"], swiftSettings: strict),

    .target(name: "Postgres", cSettings: gnu, swiftSettings: strict),
    .testTarget(name: "PostgresTests", dependencies: ["Postgres"], swiftSettings: tests),

    .target(name: "SQLite", dependencies: ["CSQLite"], cSettings: gnu, swiftSettings: strict),
    .testTarget(name: "SQLiteTests", dependencies: ["SQLite"], swiftSettings: strict),

    .target(name: "JSON", swiftSettings: strict),
    .target(
      name: "JSONReference", dependencies: ["JSON"], path: "Tests/JSONReference", swiftSettings: strict),
    .testTarget(name: "JSONTests", dependencies: ["JSON", "JSONReference"], swiftSettings: strict),

    .target(name: "SHA256", dependencies: ["CSHA256"], swiftSettings: strict),

    .testTarget(
      name: "ExecutableTests", dependencies: ["mcp-session-store"], path: "Tests/ExecutableTests", cSettings: gnu,
      swiftSettings: tests),

    // Disks that fail and power cuts; built for Tests/Reliability alone.
    .executableTarget(
      name: "disk-faults", dependencies: ["Sidecar", "SessionStore", "JSONRPC", "SQLite", "CTestDisk"],
      path: "Tests/Reliability/Disk", cSettings: gnu, swiftSettings: tests),
    .target(name: "CTestDisk", dependencies: ["CSQLite"], path: "Tests/Reliability/CTestDisk", cSettings: gnu),

    .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),

    .systemLibrary(name: "CSHA256"),

    .testTarget(name: "TidyTests", swiftSettings: strict),
  ],
  swiftLanguageModes: [.v6]
)

// What only libFuzzer can link, for it brings the entry point: Tests/Reliability/fuzz.py builds these.
if Context.environment["FUZZ"] != nil {
  let fuzzed = strict + [.unsafeFlags(["-parse-as-library"])]
  package.targets += [
    .executableTarget(
      name: "FuzzJSON", dependencies: ["JSON", "JSONReference"], path: "Tests/Fuzz/FuzzJSON", swiftSettings: fuzzed),
    .executableTarget(
      name: "FuzzJSONRPC", dependencies: ["JSONRPC", "JSON"], path: "Tests/Fuzz/FuzzJSONRPC", swiftSettings: fuzzed),
    .executableTarget(
      name: "FuzzSidecar", dependencies: ["Sidecar", "SessionStore", "Database", "SQLite", "JSON"],
      path: "Tests/Fuzz/FuzzSidecar", swiftSettings: fuzzed),
  ]
}
