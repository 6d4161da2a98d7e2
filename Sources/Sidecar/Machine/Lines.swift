import JSON
import JSONRPC

/// One request as it came: a line, or a member of a batch. The atom of a group.
struct Unit {
  /// the beginning only, when the line is over the limit
  let text: ArraySlice<UInt8>
  /// why the line is refused as a whole; a reference, because there seldom is one
  var refusal: (any Error)?
  var isTooLong = false
  /// where it stands in a batch
  var opensBatch = false
  var closesBatch = false
  var isInBatch = false

  init(_ text: ArraySlice<UInt8>, refusal: RPCError? = nil) {
    self.text = text
    self.refusal = refusal
  }

  /// requests that a batch may have
  static let maxBatch = 1_000

  /// The beginning of a line that is over the limit.
  static func tooLong(_ prefix: ArraySlice<UInt8>) -> Unit {
    var unit = Unit(prefix)
    unit.isTooLong = true
    return unit
  }

  /// The members of a batch once the whole line is known to be valid JSON; nil when the line is no batch.
  static func batch(_ text: ArraySlice<UInt8>) -> [Unit]? {
    var scanner = JSONScanner()
    guard (try? scanner.peek(text.span)) == UInt8(ascii: "[") else { return nil }
    var elements: [Range<Int>] = []
    do throws(JSONError) {
      try scanner.readElements(text.span, into: &elements, limit: maxBatch + 1)
      try scanner.finish(text.span)
    } catch {
      return [Unit([], refusal: .parseError(error))]
    }
    if elements.isEmpty { return [Unit([], refusal: .invalidRequest("the batch is empty"))] }
    if elements.count > maxBatch {
      return [Unit([], refusal: .invalidRequest("a batch has at most \(maxBatch) members"))]
    }
    let whole = JSONText(validated: text)
    var units = elements.map { Unit(whole.cut($0).bytes) }
    for index in units.indices { units[index].isInBatch = true }
    units[0].opensBatch = true
    units[units.count - 1].closesBatch = true
    return units
  }
}
