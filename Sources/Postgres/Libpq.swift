internal import Glibc

/// libpq, loaded when the first server is named: the program starts, and serves files, on machines without it.
///
/// Its functions have the types that https://www.postgresql.org/docs/current/libpq.html gives them. No header is used,
/// so that nothing of it is needed to build.
@safe
final class Libpq: @unchecked Sendable {
  typealias Text = UnsafePointer<CChar>
  typealias Connected = OpaquePointer
  typealias Result = OpaquePointer
  typealias Texts = UnsafePointer<UnsafePointer<CChar>?>
  typealias Values = UnsafePointer<UnsafePointer<CChar>?>?
  typealias Ints = UnsafePointer<Int32>?
  typealias Types = UnsafePointer<UInt32>?

  // Connections
  let connectdbParams: @convention(c) (Texts, Texts, Int32) -> Connected?
  let finish: @convention(c) (Connected) -> Void
  let status: @convention(c) (Connected) -> Int32
  let errorMessage: @convention(c) (Connected) -> Text?
  let socket: @convention(c) (Connected) -> Int32
  let setnonblocking: @convention(c) (Connected, Int32) -> Int32
  let setNoticeReceiver:
    @convention(c) (Connected, @convention(c) (UnsafeMutableRawPointer?, Result?) -> Void, UnsafeMutableRawPointer?) ->
      OpaquePointer?
  let backendPID: @convention(c) (Connected) -> Int32
  let host: @convention(c) (Connected) -> Text?
  let port: @convention(c) (Connected) -> Text?
  let database: @convention(c) (Connected) -> Text?
  let user: @convention(c) (Connected) -> Text?
  let getCancel: @convention(c) (Connected) -> OpaquePointer?
  let cancel: @convention(c) (OpaquePointer, UnsafeMutablePointer<CChar>, Int32) -> Int32
  let freeCancel: @convention(c) (OpaquePointer) -> Void

  // The pipeline
  let enterPipelineMode: @convention(c) (Connected) -> Int32
  let pipelineSync: @convention(c) (Connected) -> Int32
  let sendPrepare: @convention(c) (Connected, Text, Text, Int32, Types) -> Int32
  let sendDescribePrepared: @convention(c) (Connected, Text) -> Int32
  let sendQueryPrepared: @convention(c) (Connected, Text, Int32, Values, Ints, Ints, Int32) -> Int32
  let sendQueryParams: @convention(c) (Connected, Text, Int32, Types, Values, Ints, Ints, Int32) -> Int32
  let flush: @convention(c) (Connected) -> Int32
  let consumeInput: @convention(c) (Connected) -> Int32
  let isBusy: @convention(c) (Connected) -> Int32
  let getResult: @convention(c) (Connected) -> Result?

  // Results
  let resultStatus: @convention(c) (Result) -> Int32
  let resultErrorField: @convention(c) (Result, Int32) -> Text?
  let clear: @convention(c) (Result) -> Void
  let ntuples: @convention(c) (Result) -> Int32
  let nfields: @convention(c) (Result) -> Int32
  let ftype: @convention(c) (Result, Int32) -> UInt32
  let getvalue: @convention(c) (Result, Int32, Int32) -> UnsafeMutablePointer<CChar>?
  let getlength: @convention(c) (Result, Int32, Int32) -> Int32
  let getisnull: @convention(c) (Result, Int32, Int32) -> Int32
  let cmdTuples: @convention(c) (Result) -> Text?
  let cmdStatus: @convention(c) (Result) -> Text?
  let nparams: @convention(c) (Result) -> Int32
  let paramtype: @convention(c) (Result, Int32) -> UInt32

  /// as libpq counts it: 150,018 for 15.18
  let version: Int

  private static let loaded = Swift.Result { () throws(PostgresError) in try Libpq(named: "libpq.so.5") }

  static func load() throws(PostgresError) -> Libpq { try loaded.get() }

  init(named name: String) throws(PostgresError) {
    // A static program would get a second C library, and crash in it.
    if LoadedProgram.isStatic {
      throw Self.unavailable(
        "This is the fully static program, which cannot load \(name), the library of PostgreSQL; take the one that "
          + "is linked with the system's C library")
    }
    // Never unloaded: what is found in it stays valid for as long as the program runs.
    guard let library = unsafe dlopen(name, RTLD_NOW | RTLD_LOCAL) else {
      throw Self.unavailable(
        "PostgreSQL needs \(name), which is not installed; install it: apt-get install libpq5 (Debian, Ubuntu), "
          + "dnf install libpq (Fedora, RHEL), zypper install libpq5 (SUSE)")
    }
    /// A function of the library, whose C type is that of the property that takes it.
    func symbol<Function>(_ symbol: String) throws(PostgresError) -> Function {
      guard let address = unsafe dlsym(library, symbol) else {
        throw Self.unavailable(
          "\(name) is too old: it has no \(symbol); install the libpq of PostgreSQL 14 or newer")
      }
      return unsafe unsafeBitCast(address, to: Function.self)
    }
    unsafe connectdbParams = try symbol("PQconnectdbParams")
    unsafe finish = try symbol("PQfinish")
    unsafe status = try symbol("PQstatus")
    unsafe errorMessage = try symbol("PQerrorMessage")
    unsafe socket = try symbol("PQsocket")
    unsafe setnonblocking = try symbol("PQsetnonblocking")
    unsafe setNoticeReceiver = try symbol("PQsetNoticeReceiver")
    unsafe backendPID = try symbol("PQbackendPID")
    unsafe host = try symbol("PQhost")
    unsafe port = try symbol("PQport")
    unsafe database = try symbol("PQdb")
    unsafe user = try symbol("PQuser")
    unsafe getCancel = try symbol("PQgetCancel")
    unsafe cancel = try symbol("PQcancel")
    unsafe freeCancel = try symbol("PQfreeCancel")
    unsafe enterPipelineMode = try symbol("PQenterPipelineMode")
    unsafe pipelineSync = try symbol("PQpipelineSync")
    unsafe sendPrepare = try symbol("PQsendPrepare")
    unsafe sendDescribePrepared = try symbol("PQsendDescribePrepared")
    unsafe sendQueryPrepared = try symbol("PQsendQueryPrepared")
    unsafe sendQueryParams = try symbol("PQsendQueryParams")
    unsafe flush = try symbol("PQflush")
    unsafe consumeInput = try symbol("PQconsumeInput")
    unsafe isBusy = try symbol("PQisBusy")
    unsafe getResult = try symbol("PQgetResult")
    unsafe resultStatus = try symbol("PQresultStatus")
    unsafe resultErrorField = try symbol("PQresultErrorField")
    unsafe clear = try symbol("PQclear")
    unsafe ntuples = try symbol("PQntuples")
    unsafe nfields = try symbol("PQnfields")
    unsafe ftype = try symbol("PQftype")
    unsafe getvalue = try symbol("PQgetvalue")
    unsafe getlength = try symbol("PQgetlength")
    unsafe getisnull = try symbol("PQgetisnull")
    unsafe cmdTuples = try symbol("PQcmdTuples")
    unsafe cmdStatus = try symbol("PQcmdStatus")
    unsafe nparams = try symbol("PQnparams")
    unsafe paramtype = try symbol("PQparamtype")
    let libVersion: @convention(c) () -> Int32 = try symbol("PQlibVersion")
    version = Int(libVersion())
  }

  private static func unavailable(_ message: String) -> PostgresError {
    PostgresError(state: "HY000", message: message + ".", kind: .noLibrary)
  }
}

/// How the running program was linked.
private enum LoadedProgram {
  /// Whether it was started without a dynamic linker: the kernel tells every program where it put that one.
  /// https://man7.org/linux/man-pages/man3/getauxval.3.html, AT_BASE
  static var isStatic: Bool {
    guard let file = unsafe fopen("/proc/self/auxv", "r") else { return false }
    defer { unsafe fclose(file) }
    var words = [UInt](repeating: 0, count: 128)
    let count = unsafe words.withUnsafeMutableBytes { unsafe fread($0.baseAddress!, 1, $0.count, file) }
    for index in stride(from: 0, to: count / MemoryLayout<UInt>.size - 1, by: 2) where words[index] == 7 {
      return words[index + 1] == 0
    }
    return false
  }
}
