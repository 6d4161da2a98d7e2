/// The values of a statement's parameters, in PostgreSQL's binary format
/// (https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-FORMAT-CODES).
struct Parameters {
  /// Types by the numbers that every server has for them.
  enum Kind: UInt32 {
    case null = 0
    case bytes = 17
    case integer = 20
    case text = 25
    case byteArray = 1001
    case textArray = 1009
    case integerArray = 1016

    /// Of an array of it; nil where none is needed.
    var array: Kind? {
      switch self {
      case .bytes: .byteArray
      case .integer: .integerArray
      case .text: .textArray
      default: nil
      }
    }

    /// its name in SQL
    var name: String {
      switch self {
      case .bytes: "bytea"
      case .integer: "bigint"
      default: "text"
      }
    }
  }

  /// Where one value is.
  struct Slot {
    let kind: Kind
    let start: Int
    let count: Int

    var isNull: Bool { kind == .null }
  }

  private(set) var bytes: [UInt8] = []
  private var slots: [Slot]

  init(count: Int) {
    slots = Array(repeating: Slot(kind: .null, start: 0, count: 0), count: count)
  }

  var count: Int { slots.count }
  func map<Value>(_ transform: (Slot) throws -> Value) rethrows -> [Value] { try slots.map(transform) }
  subscript(index: Int) -> Slot { slots[index] }

  /// All are NULL again.
  mutating func removeAll() {
    bytes.removeAll(keepingCapacity: true)
    for index in slots.indices { slots[index] = Slot(kind: .null, start: 0, count: 0) }
  }

  /// An index that the statement does not have is passed over: the server says which it lacks.
  private mutating func note(_ index: Int32, _ kind: Kind, from start: Int) {
    guard index >= 1, Int(index) <= slots.count else { return }
    slots[Int(index) - 1] = Slot(kind: kind, start: start, count: bytes.count - start)
  }

  mutating func set(_ index: Int32, _ value: Int64) {
    let start = bytes.count
    bytes.append(bigEndian: value)
    note(index, .integer, from: start)
  }

  mutating func set(_ index: Int32, text: Span<UInt8>) {
    let start = bytes.count
    ZeroEscape.append(text, to: &bytes)
    note(index, .text, from: start)
  }

  mutating func set(_ index: Int32, blob: [UInt8]) {
    let start = bytes.count
    bytes += blob
    note(index, .bytes, from: start)
  }

  mutating func set(_ index: Int32, texts: [String]) {
    var array = ArrayValue(of: .text)
    for text in texts { array.append(text: text.utf8.span) }
    set(index, array)
  }

  mutating func set(_ index: Int32, integers: [Int64]) {
    var array = ArrayValue(of: .integer)
    for integer in integers { array.append(integer) }
    set(index, array)
  }

  mutating func set(_ index: Int32, _ array: ArrayValue) {
    guard let kind = array.kind.array else { return }
    let start = bytes.count
    array.append(to: &bytes)
    note(index, kind, from: start)
  }

  /// The bytes of all values, and at least one, for the time of `body`.
  func withBytes<Value>(_ body: (UnsafeBufferPointer<UInt8>) throws -> Value) rethrows -> Value {
    if bytes.isEmpty { return try unsafe [0].withUnsafeBufferPointer(body) }
    return try unsafe bytes.withUnsafeBufferPointer(body)
  }

  /// The number in a slot of that kind.
  func integer(_ slot: Slot) -> Int64 {
    slot.kind == .integer ? bytes.span.extracting(slot.start..<slot.start + slot.count).bigEndianInteger : 0
  }

  /// Appends the value of `slot`, without its kind.
  func append(_ slot: Slot, to other: inout [UInt8]) {
    other += bytes[slot.start..<slot.start + slot.count]
  }
}

/// An array of one dimension, as servers take it.
struct ArrayValue {
  let kind: Parameters.Kind
  private(set) var count: Int32 = 0
  private var hasNull = false
  private var elements: [UInt8] = []

  init(of kind: Parameters.Kind) {
    self.kind = kind
  }

  /// bytes so far
  var size: Int { elements.count }

  mutating func append(_ value: Int64) {
    elements.append(bigEndian: 8 as Int32)
    elements.append(bigEndian: value)
    count += 1
  }

  mutating func append(text: Span<UInt8>) {
    let place = elements.count
    elements.append(bigEndian: 0 as Int32)
    let length = Int32(clamping: ZeroEscape.append(text, to: &elements))
    for (offset, byte) in length.bigEndianBytes.enumerated() { elements[place + offset] = byte }
    count += 1
  }

  /// A value that is encoded already.
  mutating func append(_ slot: Parameters.Slot, of parameters: borrowing Parameters) {
    if slot.isNull {
      hasNull = true
      elements.append(bigEndian: -1 as Int32)
    } else {
      elements.append(bigEndian: Int32(clamping: slot.count))
      parameters.append(slot, to: &elements)
    }
    count += 1
  }

  /// https://github.com/postgres/postgres/blob/master/src/backend/utils/adt/arrayfuncs.c, array_recv: dimensions,
  /// whether there are NULLs, the type of the elements, how many, the index of the first.
  func append(to bytes: inout [UInt8]) {
    for field in [1, hasNull ? 1 : 0, Int32(bitPattern: kind.rawValue), count, 1] { bytes.append(bigEndian: field) }
    bytes += elements
  }
}

extension FixedWidthInteger {
  /// The bytes as they go over the network.
  var bigEndianBytes: [UInt8] {
    (0..<Self.bitWidth / 8).map { UInt8(truncatingIfNeeded: self >> (Self.bitWidth - 8 - 8 * $0)) }
  }
}

extension [UInt8] {
  mutating func append(bigEndian value: some FixedWidthInteger) {
    var shift = type(of: value).bitWidth
    while shift > 0 {
      shift -= 8
      append(UInt8(truncatingIfNeeded: value >> shift))
    }
  }
}

extension Span<UInt8> {
  /// The number that the bytes are, as they come over the network.
  var bigEndianInteger: Int64 {
    var value: UInt64 = count > 0 && self[0] >= 0x80 ? .max : 0
    for index in indices.prefix(8) { value = value << 8 | UInt64(self[index]) }
    return Int64(bitPattern: value)
  }
}
