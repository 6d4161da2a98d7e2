import Sidecar

/// Bytes on their way to the reader, in order.
struct OutputQueue {
  /// As much as a group's answers. Asked for at once, it is a mapping of its own that costs memory only as it is used;
  /// grown step by step, it left the heap in pieces (measured: 8 MB). Storage beyond it is given back after use.
  private static let keptCapacity = Sidecar.outputReserve

  private var bytes = [UInt8](reserving: keptCapacity)
  /// how much of `bytes` has gone out
  private var sent = 0

  var count: Int { bytes.count - sent }
  var isEmpty: Bool { count == 0 }

  /// Takes over what the sidecar has ready. Two buffers change places as long as the reader keeps up, so that a busy
  /// process neither copies nor allocates them anew.
  mutating func refill(from sidecar: Sidecar) {
    if isEmpty {
      bytes.removeAll(keepingCapacity: true)
      sent = 0
    } else if sent > bytes.count / 2 {
      // What has gone out is dropped once it is the larger part, so that a slow reader costs no copy per write.
      bytes.removeFirst(sent)
      sent = 0
    }
    sidecar.moveOutput(to: &bytes)
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
    if bytes.capacity > 2 * Self.keptCapacity {
      bytes = [UInt8](reserving: Self.keptCapacity)
      sent = 0
    }
    return true
  }
}

extension [UInt8] {
  /// An empty buffer with room for `capacity` bytes.
  fileprivate init(reserving capacity: Int) {
    self = []
    reserveCapacity(capacity)
  }
}
