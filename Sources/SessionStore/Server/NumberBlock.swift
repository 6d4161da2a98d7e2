/// Numbers that one process gives out, from a block that it drew from a sequence of the database: no two processes give
/// out the same, and none waits for another. What a process has not given out when it ends is never given out.
struct NumberBlock {
  /// of the sequence, which counts blocks
  let sequence: String
  /// numbers in a block
  let size: Int64
  private var next: Int64 = 0
  /// that was given out
  private var highest: Int64 = 0
  private var end: Int64 = 0

  init(sequence: String, size: Int64) {
    self.sequence = sequence
    self.size = size
  }

  /// how many are left
  var rest: Int64 { end - next }

  /// The statement that draws a block.
  var drawing: String { "SELECT nextval('\(sequence)')" }

  /// Takes a block over.
  mutating func take(_ block: Int64) {
    next = (Saturating(block - 1) * size + 1).value
    end = (Saturating(next) + size).value
  }

  /// Gives out what is left no more: a server that took another one's place may not know of the block, and hand it to
  /// somebody else.
  mutating func drop() { (next, end) = (0, 0) }

  /// Gives out none of the numbers up to this one any more.
  mutating func drop(through number: Int64) {
    if next <= number { (next, end) = (0, 0) }
  }

  /// The next number that is higher than one which somebody may have given out.
  /// - Parameter draw: draws a block, whose numbers are higher than all before it
  mutating func number(above floor: Int64, _ draw: () throws -> Int64) rethrows -> Int64 {
    let floor = max(floor, highest)
    // More than once only where a sequence has been set back.
    while next >= end || end - 1 <= floor { take(try draw()) }
    next = max(next, floor + 1)
    defer { next += 1 }
    highest = next
    return next
  }

  /// Sees to it that no number up to one is given out any more.
  func passing(_ number: Int64) -> (sql: String, block: Int64) {
    (
      "SELECT setval('\(sequence)', CASE WHEN last_value < $1 THEN $1 ELSE last_value END) FROM \(sequence)",
      max(1, (number + size - 1) / size)
    )
  }
}
