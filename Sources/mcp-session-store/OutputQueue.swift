import Sidecar

/// Bytes on their way to the reader, in order, in pieces: what waits is neither copied nor moved when more comes.
struct OutputQueue {
  /// As much as a group's answers. Asked for at once, it is a mapping of its own that costs memory only as it is used;
  /// grown step by step, it left the heap in pieces (measured: 8 MB). Storage beyond it is given back after use.
  private static let keptCapacity = Sidecar.outputReserve

  /// what waits, from the piece at `first` on
  private var pieces: [[UInt8]] = []
  private var first = 0
  /// how much of the first piece has gone out
  private var sent = 0
  /// an empty buffer, kept so that a busy process does not allocate one for each group
  private var spare = [UInt8](reserving: keptCapacity)

  private(set) var count = 0
  var isEmpty: Bool { count == 0 }

  /// Takes over what the sidecar has ready. Two buffers change places as long as the reader keeps up.
  mutating func refill(from sidecar: Sidecar) {
    let ready = sidecar.outputCount
    if ready == 0 { return }
    count += ready
    // Little by little would be very many pieces.
    if let last = pieces.indices.last, last >= first, pieces[last].capacity - pieces[last].count >= ready {
      return sidecar.moveOutput(to: &pieces[last])
    }
    var piece: [UInt8] = []
    swap(&piece, &spare)
    if piece.capacity == 0 { piece = [UInt8](reserving: Self.keptCapacity) }
    sidecar.moveOutput(to: &piece)
    pieces.append(piece)
  }

  /// Writes what the reader takes without waiting.
  /// - Throws: ``Failure`` when the reader is gone
  mutating func drain(to descriptor: Int32) throws(Failure) {
    while !isEmpty {
      switch System.writeWithoutWaiting(descriptor, pieces[first][sent...]) {
      case .bytes(let written):
        sent += written
        count -= written
        if sent == pieces[first].count { dropFirst() }
      case .wouldBlock: return
      case .ended: throw .readerIsGone
      case .failed(let reason):
        throw Failure(code: .inputOutput, message: "cannot write to standard output: \(reason)")
      }
    }
  }

  private mutating func dropFirst() {
    var piece: [UInt8] = []
    swap(&piece, &pieces[first])
    sent = 0
    first += 1
    if 2 * first >= pieces.count {
      pieces.removeFirst(first)
      first = 0
    }
    if spare.capacity == 0, piece.capacity <= 2 * Self.keptCapacity {
      piece.removeAll(keepingCapacity: true)
      spare = piece
    }
  }
}

extension Failure {
  static let readerIsGone = Failure(
    code: .inputOutput, message: "the reader of standard output is gone; what it has not taken is lost")
}

extension [UInt8] {
  /// An empty buffer with room for `capacity` bytes.
  fileprivate init(reserving capacity: Int) {
    self = []
    reserveCapacity(capacity)
  }
}
