import Glibc
import SessionStore

/// A file of sessions that were archived: for each a member of gzip (RFC 1952) that has its id as name and its dump as
/// content, so that any gzip reads it.
///
/// The header of a member says in an extra field how long it is and what digest its lines have. That is written when
/// the rest is on disk: a member without it was never finished, and what comes behind it neither.
@safe
final class ArchiveFile: ArchiveTarget {
  struct Member {
    let sessionID: String
    let digest: String
    let offset: Int64
    let length: Int64
    /// of the compressed bytes
    fileprivate let content: Range<Int64>
  }

  /// ID1 ID2, deflate, FEXTRA and FNAME, no time, no flags, Unix; 76 bytes extra, MS, 72 bytes
  private static let start: [UInt8] = [0x1F, 0x8B, 8, 0x0C, 0, 0, 0, 0, 0, 3, 76, 0, 0x4D, 0x53, 72, 0]
  /// the length in eight bytes, the lowest first, and the digits of the digest
  private static let extraBytes = 72
  /// a header with the longest id
  private static let headerBytes = start.count + extraBytes + 257
  /// the checksum and the length of the content
  private static let trailerBytes: Int64 = 8

  let file: String
  let path: String
  private let descriptor: Int32
  private let zlib: Zlib
  private(set) var size: Int64 = 0
  /// those that are at the end, at most as many as may be in the store as well
  private(set) var newest: [(sessionID: String, digest: String)] = []
  private var writing: (offset: Int64, transfer: Zlib.Transfer, checksum: UInt32, count: UInt32)?
  /// what is to be written into headers once the rest is on disk
  private var extras: [(offset: Int64, bytes: [UInt8])] = []

  /// Opens it to append, and takes away what was not finished.
  /// - Parameter known: which file it has to be, and it is there; nil: any, and it is made when it is missing
  init(appendingTo path: String, known: String? = nil) throws(ArchiveError) {
    zlib = try Zlib()
    descriptor = unsafe open(path, O_RDWR | (known == nil ? O_CREAT : 0) | O_CLOEXEC | O_NOCTTY, 0o600)
    file = Self.identity(descriptor)
    self.path = System.resolved(path) ?? path
    guard descriptor >= 0 else {
      if [ENOSPC, EDQUOT, EMFILE, ENFILE, ENOMEM, EIO].contains(errno) { throw failure("write to") }
      throw .unusable(path: path, reason: System.errorText())
    }
    if let known, known != file { throw .missing(path: path, reason: "it is another file") }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { throw .busy(path: path) }
    try forEachMember { member in
      newest.append((member.sessionID, member.digest))
      if newest.count > Store.archivedAtOnce { newest.removeFirst() }
    }
    guard ftruncate(descriptor, off_t(size)) == 0 else { throw failure("write to") }
  }

  init(reading path: String) throws(ArchiveError) {
    self.path = path
    zlib = try Zlib()
    descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
    file = Self.identity(descriptor)
    guard descriptor >= 0 else {
      throw .missing(path: path, reason: System.errorText())
    }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// What tells a file from all others, also from those of other machines.
  private static func identity(_ descriptor: Int32) -> String {
    let error = errno
    defer { errno = error }
    var status = stat()
    _ = unsafe fstat(descriptor, &status)
    return "\(System.hostName) \(status.st_dev) \(status.st_ino)"
  }

  private func failure(_ what: String) -> ArchiveError {
    .failed(path: path, what: "cannot " + what, isFull: errno == ENOSPC || errno == EDQUOT, reason: System.errorText())
  }

  private var outOfMemory: ArchiveError {
    .failed(path: path, what: "cannot compress for", isFull: false, reason: "out of memory")
  }

  private func damaged(at offset: Int64) -> ArchiveError { .foreign(path: path, offset: offset) }

  // MARK: - Reading

  private func bytes(at offset: Int64, count: Int) throws(ArchiveError) -> [UInt8] {
    var buffer = [UInt8](repeating: 0, count: count)
    var filled = 0
    while filled < count {
      let got = unsafe buffer.withUnsafeMutableBytes { target in
        unsafe pread(descriptor, target.baseAddress?.advanced(by: filled), count - filled, off_t(offset) + filled)
      }
      if got < 0, errno == EINTR { continue }
      if got < 0 { throw failure("read") }
      if got == 0 { break }
      filled += got
    }
    return Array(buffer[..<filled])
  }

  private func isZero(from offset: Int64) throws(ArchiveError) -> Bool {
    var place = offset
    while true {
      let piece = try bytes(at: place, count: 1 << 16)
      if piece.isEmpty { return true }
      if !piece.allSatisfy({ $0 == 0 }) { return false }
      place += Int64(piece.count)
    }
  }

  /// Visits all that were finished; ``size`` is behind them then.
  private func forEachMember(_ visit: (Member) -> Void) throws(ArchiveError) {
    let all = Int64(lseek(descriptor, 0, SEEK_END))
    size = 0
    while size < all {
      let header = try bytes(at: size, count: Self.headerBytes)
      let extra = Self.start.count
      // A power cut may leave zeros.
      let isOurs = header.prefix(extra).elementsEqual(Self.start.prefix(header.count))
      if !isOurs, header.allSatisfy({ $0 == 0 }), try isZero(from: size) { return }
      guard isOurs else { throw damaged(at: size) }
      if header.count < extra + Self.extraBytes { return }
      let length = header[extra..<(extra + 8)].reversed().reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
      if length == 0 { return }
      let nameStart = extra + Self.extraBytes
      guard let nameEnd = header[nameStart...].firstIndex(of: 0), length <= UInt64(all - size),
        Int64(length) > Int64(nameEnd) + Self.trailerBytes
      else { throw damaged(at: size) }
      visit(
        Member(
          sessionID: String(decoding: header[nameStart..<nameEnd], as: UTF8.self),
          digest: String(decoding: header[(extra + 8)..<nameStart], as: UTF8.self), offset: size,
          length: Int64(length), content: (size + Int64(nameEnd) + 1)..<(size + Int64(length) - Self.trailerBytes)))
      size += Int64(length)
    }
  }

  /// The one that was archived last, should there be several with the id.
  func member(of sessionID: String) throws(ArchiveError) -> Member? {
    var found: Member?
    try forEachMember { if $0.sessionID == sessionID { found = $0 } }
    return found
  }

  /// Reads the lines of a member.
  /// - Throws: ``ArchiveError`` when it is damaged, after some of them were handed out; what `emit` throws
  func read(_ member: Member, emit: ([UInt8]) throws -> Void) throws {
    guard let transfer = zlib.expanding else { throw outOfMemory }
    var (checksum, count, place): (UInt32, UInt32, Int64) = (0, 0, member.content.lowerBound)
    while place < member.content.upperBound {
      let piece = try bytes(at: place, count: Int(min(1 << 16, member.content.upperBound - place)))
      if piece.isEmpty { break }
      place += Int64(piece.count)
      let isSound = try transfer.push(piece) { lines in
        checksum = zlib.checksum(checksum, lines)
        count &+= UInt32(lines.count)
        try emit(lines)
      }
      if !isSound { throw damaged(at: member.offset) }
    }
    let trailer = try bytes(at: member.content.upperBound, count: Int(Self.trailerBytes))
    guard transfer.isFinished, trailer == Self.littleEndian(checksum) + Self.littleEndian(count) else {
      throw damaged(at: member.offset)
    }
  }

  // MARK: - Writing

  private static func littleEndian(_ word: some FixedWidthInteger & UnsignedInteger) -> [UInt8] {
    (0..<(word.bitWidth / 8)).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) }
  }

  private func write(_ bytes: [UInt8], at offset: Int64) throws(ArchiveError) {
    var written = 0
    while written < bytes.count {
      let sent = unsafe bytes.withUnsafeBytes { source in
        unsafe pwrite(
          descriptor, source.baseAddress?.advanced(by: written), bytes.count - written, off_t(offset) + written)
      }
      if sent < 0, errno == EINTR { continue }
      if sent < 0 { throw failure("write to") }
      written += sent
    }
  }

  private func append(compressed bytes: [UInt8]) throws(ArchiveError) {
    try write(bytes, at: size)
    size += Int64(bytes.count)
  }

  func begin(_ sessionID: String) throws {
    guard let transfer = zlib.compressing else { throw outOfMemory }
    writing = (size, transfer, 0, 0)
    try append(
      compressed: Self.start + [UInt8](repeating: 0, count: Self.extraBytes) + Array(sessionID.utf8) + [0])
  }

  func append(_ lines: [UInt8]) throws { try push(lines, isLast: false) }

  private func push(_ lines: [UInt8], isLast: Bool) throws {
    guard let transfer = writing?.transfer else { return }
    let checksum = zlib.checksum(writing?.checksum ?? 0, lines)
    writing?.checksum = checksum
    writing?.count &+= UInt32(lines.count)
    _ = try transfer.push(lines, isLast: isLast) { try append(compressed: $0) }
  }

  func end(_ digest: String) throws {
    try push([], isLast: true)
    guard let (offset, _, checksum, count) = writing else { return }
    try append(compressed: Self.littleEndian(checksum) + Self.littleEndian(count))
    extras.append(
      (offset + Int64(Self.start.count), Self.littleEndian(UInt64(size - offset)) + Array(digest.utf8)))
    writing = nil
  }

  func sync() throws {
    guard fsync(descriptor) == 0 else { throw failure("write to") }
    for extra in extras { try write(extra.bytes, at: extra.offset) }
    extras = []
    guard fsync(descriptor) == 0 else { throw failure("write to") }
    if let reason = System.syncDirectory(of: path) {
      throw ArchiveError.failed(path: path, what: "cannot write to the directory of", isFull: false, reason: reason)
    }
  }
}
