/// Bytes on their way to the reader, in order.
struct OutputQueue {
  private var bytes: [UInt8] = []
  /// how much of `bytes` has gone out
  private var sent = 0

  var count: Int { bytes.count - sent }
  var isEmpty: Bool { count == 0 }

  mutating func append(_ more: [UInt8]) {
    if isEmpty {
      bytes = more
      sent = 0
      return
    }
    // What has gone out is dropped once it is the larger part, so that a slow reader costs no copy per write.
    if sent > bytes.count / 2 {
      bytes.removeFirst(sent)
      sent = 0
    }
    bytes.append(contentsOf: more)
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
    bytes = []
    sent = 0
    return true
  }
}
