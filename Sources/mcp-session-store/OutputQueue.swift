import Sidecar

/// Bytes on their way to the reader, in order.
struct OutputQueue {
  /// storage beyond this is given back when it has been used
  private static let keptCapacity = 4 << 20

  private var bytes: [UInt8] = []
  /// how much of `bytes` has gone out
  private var sent = 0

  var count: Int { bytes.count - sent }
  var isEmpty: Bool { count == 0 }

  /// Takes over what the sidecar has ready. Two buffers change places as long as the reader keeps up, so that a busy
  /// process neither copies nor allocates them anew.
  mutating func refill(from sidecar: Sidecar) {
    guard sidecar.hasOutput else { return }
    if isEmpty {
      var spare = bytes
      bytes = []
      spare.removeAll(keepingCapacity: spare.capacity <= Self.keptCapacity)
      bytes = sidecar.takeOutput(spare)
      sent = 0
      return
    }
    // What has gone out is dropped once it is the larger part, so that a slow reader costs no copy per write.
    if sent > bytes.count / 2 {
      bytes.removeFirst(sent)
      sent = 0
    }
    bytes.append(contentsOf: sidecar.takeOutput())
  }

  /// Writes what the reader takes without waiting.
  /// - Returns: false when the reader is gone
  mutating func drain(to descriptor: Int32) -> Bool {
    while !isEmpty {
      switch System.writeWithoutWaiting(descriptor, bytes[sent...]) {
      case .bytes(let count): sent += count
      case .wouldBlock: return true
      case .ended: return false
      }
    }
    if bytes.capacity > Self.keptCapacity {
      bytes = []
      sent = 0
    }
    return true
  }
}
