import Glibc

/// What the system knows of a file, and of those who use it.
struct FileFacts {
  /// the rights, as chmod takes them
  let mode: UInt32
  let owner: UInt32
  let size: Int64
  fileprivate let device: UInt
  fileprivate let node: UInt

  /// - Returns: nil when there is no such file or nothing can be known of it
  init?(_ path: String) {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { return nil }
    mode = status.st_mode & 0o7777
    owner = status.st_uid
    size = Int64(status.st_size)
    device = UInt(status.st_dev)
    node = UInt(status.st_ino)
  }

  func isSame(as other: FileFacts) -> Bool { device == other.device && node == other.node }

  /// "0600"
  var rights: String {
    let digits = String(mode, radix: 8)
    return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
  }

  static func names(in directory: String) -> [String]? {
    guard let stream = unsafe opendir(directory) else { return nil }
    defer { unsafe closedir(stream) }
    var names: [String] = []
    while let entry = unsafe readdir(stream) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { field in
        unsafe field.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }

  static func mayWrite(_ path: String) -> Bool { unsafe access(path, W_OK) == 0 }

  // MARK: - File systems

  /// What a file system means for a database.
  enum FileSystem {
    case local(String)
    /// gone when the machine restarts, or the container is replaced
    case fleeting(String)
    /// shared memory of processes does not work there, or nobody vouches for it
    case remote(String)
  }

  /// The file system on which `path`, which has no links in it, lies; nil when that cannot be known.
  static func fileSystem(_ path: String) -> FileSystem? {
    var (kind, longest) = ("", -1)
    for line in (System.contents("/proc/self/mountinfo") ?? "").split(separator: "\n") {
      // 36 35 98:0 /root /mount/point options … - ext4 source options (proc(5)); one that comes later lies on top.
      let words = line.split(separator: " ")
      guard words.count > 4, let dash = words.firstIndex(of: "-"), dash + 1 < words.endIndex else { continue }
      let point = unescaped(words[4])
      let isAbove = point == "/" || path == point || path.hasPrefix(point + "/")
      if isAbove, point.utf8.count >= longest { (kind, longest) = (String(words[dash + 1]), point.utf8.count) }
    }
    if kind.isEmpty { return nil }
    switch kind {
    case "tmpfs", "ramfs": return .fleeting("\(kind), which is in memory")
    case "overlay", "aufs": return .fleeting("\(kind), a container's own layer")
    case "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "glusterfs", "gfs2", "ocfs2", "vboxsf",
      "vmhgfs", "virtiofs":
      return .remote(kind)
    default: return kind.hasPrefix("fuse") ? .remote(kind) : .local(kind)
    }
  }

  /// A blank in a mount point is written \040.
  private static func unescaped(_ text: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "\\"), rest.count >= 3,
        let code = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8)
      {
        bytes.append(code)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  // MARK: - Processes

  /// Processes that have a file open.
  struct Openers {
    /// those that may only read it, too
    var processes: Set<Int32> = []
    var writers: Set<Int32> = []
    /// false where the system hides the files of other users' processes
    var isComplete = true
  }

  /// One round through /proc for several files; those that are not there have no openers.
  static func openers(_ files: [FileFacts?]) -> [Openers] {
    var found = [Openers](repeating: Openers(), count: files.count)
    for name in names(in: "/proc") ?? [] {
      guard let process = Int32(name), process != System.process() else { continue }
      guard let descriptors = names(in: "/proc/\(name)/fd") else {
        // One that has just ended hides nothing.
        if FileFacts("/proc/\(name)") != nil { for index in found.indices { found[index].isComplete = false } }
        continue
      }
      for descriptor in descriptors {
        guard let open = FileFacts("/proc/\(name)/fd/\(descriptor)") else { continue }
        for (index, file) in files.enumerated() where file?.isSame(as: open) == true {
          found[index].processes.insert(process)
          if mayWrite(process: name, descriptor) { found[index].writers.insert(process) }
        }
      }
    }
    return found
  }

  /// By the flags with which it was opened: the last octal digit is 0 for reading alone.
  private static func mayWrite(process: String, _ descriptor: String) -> Bool {
    let lines = System.contents("/proc/\(process)/fdinfo/\(descriptor)")?.split(separator: "\n") ?? []
    let flags = lines.first { $0.hasPrefix("flags:") }?.split { " \t".contains($0) }.last
    return flags.flatMap { Int32($0, radix: 8) }.map { $0 & O_ACCMODE != O_RDONLY } ?? true
  }

  /// The process that holds the file's flock right now, by /proc/locks; nil when none does or it cannot be known.
  var lockHolder: Int32? {
    for line in (System.contents("/proc/locks") ?? "").split(separator: "\n") {
      // 1: FLOCK  ADVISORY  WRITE 4711 fe:00:131 0 EOF; a process that waits has "->" behind the number.
      let words = line.split(separator: " ")
      guard words.count > 5, words[1] == "FLOCK", words[5].split(separator: ":").last == "\(node)" else { continue }
      if let process = Int32(words[4]), process > 0 { return process }
    }
    return nil
  }
}
