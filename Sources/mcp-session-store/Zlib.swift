import Glibc
import SessionStore

/// The system's zlib, loaded when an archive is written or read: everything else goes without it.
///
/// Its functions have the types that https://zlib.net/manual.html gives them. No header is used, so that nothing of it
/// is needed to build.
@safe
struct Zlib {
  /// z_stream
  @unsafe
  struct Stream {
    var nextIn: UnsafePointer<UInt8>?
    var availableIn: UInt32 = 0
    var totalIn: UInt = 0
    var nextOut: UnsafeMutablePointer<UInt8>?
    var availableOut: UInt32 = 0
    var totalOut: UInt = 0
    var message: UnsafePointer<CChar>?
    var state: OpaquePointer?
    var allocate: OpaquePointer?
    var free: OpaquePointer?
    var opaque: OpaquePointer?
    var dataType: Int32 = 0
    var checksum: UInt = 0
    var reserved: UInt = 0
  }

  typealias Run = @convention(c) (UnsafeMutableRawPointer, Int32) -> Int32
  typealias End = @convention(c) (UnsafeMutableRawPointer) -> Int32

  private let version: UnsafePointer<CChar>?
  private let deflateInit:
    @convention(c) (
      UnsafeMutableRawPointer, Int32, Int32, Int32, Int32, Int32, UnsafePointer<CChar>?, Int32
    ) -> Int32
  private let inflateInit:
    @convention(c) (UnsafeMutableRawPointer, Int32, UnsafePointer<CChar>?, Int32) -> Int32
  private let deflate, inflate: Run
  private let deflateEnd, inflateEnd: End
  private let crc: @convention(c) (UInt, UnsafePointer<UInt8>?, UInt32) -> UInt

  init() throws(ArchiveError) {
    let name = "libz.so.1"
    func unavailable(_ reason: String, _ instead: String) -> ArchiveError {
      .noLibrary(what: "archives need \(name), \(reason)", instead: instead)
    }
    // The commands go on as the program that can load it; a sidecar has its descriptors and its clients.
    if System.isStatic {
      throw unavailable(
        "which the fully static program cannot load",
        "run 'mcp-session-store archive' beside it, or serve with \(Companion.name)")
    }
    // Never unloaded: what is found in it stays valid for as long as the program runs.
    guard let library = unsafe dlopen(name, RTLD_NOW | RTLD_LOCAL) else {
      throw unavailable("which is not installed", "install it: apt-get install zlib1g (Debian, Ubuntu)")
    }
    func symbol<Function>(_ symbol: String) throws(ArchiveError) -> Function {
      guard let address = unsafe dlsym(library, symbol) else {
        throw unavailable("which has no \(symbol) here", "install another")
      }
      return unsafe unsafeBitCast(address, to: Function.self)
    }
    let version: @convention(c) () -> UnsafePointer<CChar>? = unsafe try symbol("zlibVersion")
    unsafe self.version = unsafe version()
    unsafe deflateInit = try symbol("deflateInit2_")
    unsafe inflateInit = try symbol("inflateInit2_")
    unsafe deflate = try symbol("deflate")
    unsafe inflate = try symbol("inflate")
    unsafe deflateEnd = try symbol("deflateEnd")
    unsafe inflateEnd = try symbol("inflateEnd")
    unsafe crc = try symbol("crc32")
  }

  func checksum(_ before: UInt32, _ bytes: [UInt8]) -> UInt32 {
    unsafe bytes.withUnsafeBufferPointer { buffer in
      UInt32(truncatingIfNeeded: unsafe crc(UInt(before), buffer.baseAddress, UInt32(buffer.count)))
    }
  }

  /// Bytes on their way through deflate or inflate, without any header.
  @safe
  final class Transfer {
    private let stream: UnsafeMutablePointer<Stream>
    private let run: Run
    private let end: End
    private var buffer = [UInt8](repeating: 0, count: 1 << 16)
    /// whether the compressed bytes have come to their end
    private(set) var isFinished = false

    fileprivate init?(
      _ run: Run, _ end: End, begin: (UnsafeMutableRawPointer) -> Int32
    ) {
      unsafe stream = .allocate(capacity: 1)
      unsafe stream.initialize(to: Stream())
      unsafe self.run = run
      unsafe self.end = end
      if unsafe begin(stream) != 0 { return nil }
    }

    deinit {
      _ = unsafe end(stream)
      unsafe stream.deallocate()
    }

    /// - Parameter isLast: whether nothing comes behind these
    /// - Returns: false when they are damaged
    func push(_ bytes: [UInt8], isLast: Bool = false, emit: ([UInt8]) throws -> Void) throws -> Bool {
      try unsafe bytes.withUnsafeBufferPointer { input in
        unsafe stream.pointee.nextIn = input.baseAddress
        unsafe stream.pointee.availableIn = UInt32(input.count)
        while !isFinished {
          let capacity = buffer.count
          let (code, count) = unsafe buffer.withUnsafeMutableBufferPointer { output in
            unsafe stream.pointee.nextOut = output.baseAddress
            unsafe stream.pointee.availableOut = UInt32(capacity)
            let code = unsafe run(stream, isLast ? 4 : 0)  // Z_FINISH, Z_NO_FLUSH
            return (code, capacity - Int(unsafe stream.pointee.availableOut))
          }
          // Z_OK, Z_STREAM_END; Z_BUF_ERROR: there is nothing to do.
          guard [0, 1, -5].contains(code) else { return false }
          isFinished = code == 1
          if count > 0 { try emit(Array(buffer[..<count])) }
          if count < capacity { break }
        }
        return true
      }
    }
  }

  /// nil: there is no memory for it
  var compressing: Transfer? {
    unsafe Transfer(deflate, deflateEnd) { stream in
      unsafe deflateInit(stream, 6, 8, -15, 8, 0, version, Int32(MemoryLayout<Stream>.size))
    }
  }

  var expanding: Transfer? {
    unsafe Transfer(inflate, inflateEnd) { stream in
      unsafe inflateInit(stream, -15, version, Int32(MemoryLayout<Stream>.size))
    }
  }
}
