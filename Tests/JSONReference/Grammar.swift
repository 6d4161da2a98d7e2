/// The grammar of RFC 8259 rule by rule, one scalar at a time: slow and plain, so that the scanner, which is neither,
/// can be held against it on any bytes whatever.
package struct Grammar {
  private let scalars: [Unicode.Scalar]
  private var at = 0
  private var depth = 0

  /// Whether `bytes` is a JSON text no deeper than 128 levels.
  package static func accepts(_ bytes: some Collection<UInt8>) -> Bool {
    guard let text = String(validating: bytes, as: UTF8.self) else { return false }
    var grammar = Grammar(text)
    guard grammar.element() else { return false }
    return grammar.at == grammar.scalars.count
  }

  private init(_ text: String) {
    self.scalars = Array(text.unicodeScalars)
  }

  private var next: Unicode.Scalar? { at < scalars.count ? scalars[at] : nil }

  private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
    guard next == scalar else { return false }
    at += 1
    return true
  }

  private mutating func take(_ range: ClosedRange<Unicode.Scalar>) -> Bool {
    guard let next, range.contains(next) else { return false }
    at += 1
    return true
  }

  private mutating func take(_ word: String) -> Bool { word.unicodeScalars.allSatisfy { take($0) } }

  /// ws value ws
  private mutating func element() -> Bool {
    white()
    guard value() else { return false }
    white()
    return true
  }

  private mutating func white() {
    while take(" ") || take("\t") || take("\n") || take("\r") {}
  }

  private mutating func value() -> Bool {
    switch next {
    case "{": nested { $0.object() }
    case "[": nested { $0.array() }
    case "\"": string()
    case "t": take("true")
    case "f": take("false")
    case "n": take("null")
    default: number()
    }
  }

  private mutating func nested(_ rule: (inout Grammar) -> Bool) -> Bool {
    depth += 1
    defer { depth -= 1 }
    return depth <= 128 && rule(&self)
  }

  private mutating func object() -> Bool {
    guard take("{") else { return false }
    white()
    if take("}") { return true }
    repeat {
      white()
      guard string() else { return false }
      white()
      guard take(":"), element() else { return false }
    } while take(",")
    return take("}")
  }

  private mutating func array() -> Bool {
    guard take("[") else { return false }
    white()
    if take("]") { return true }
    repeat {
      guard element() else { return false }
    } while take(",")
    return take("]")
  }

  private mutating func number() -> Bool {
    _ = take("-")
    if !take("0") {
      guard take("1"..."9") else { return false }
      while take("0"..."9") {}
    }
    if take(".") {
      guard digits() else { return false }
    }
    if take("e") || take("E") {
      _ = take("+") || take("-")
      guard digits() else { return false }
    }
    return true
  }

  private mutating func digits() -> Bool {
    guard take("0"..."9") else { return false }
    while take("0"..."9") {}
    return true
  }

  private mutating func string() -> Bool {
    guard take("\"") else { return false }
    while true {
      if take("\"") { return true }
      if take("\\") {
        guard escape() else { return false }
      } else {
        guard take(" "..."\u{10FFFF}") else { return false }
      }
    }
  }

  private mutating func escape() -> Bool {
    for letter: Unicode.Scalar in ["\"", "\\", "/", "b", "f", "n", "r", "t"] where take(letter) { return true }
    guard take("u") else { return false }
    for _ in 0..<4 {
      guard take("0"..."9") || take("a"..."f") || take("A"..."F") else { return false }
    }
    return true
  }
}
