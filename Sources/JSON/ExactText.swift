/// Text is the same here when its bytes are. Swift's own `==` and hash hold two spellings of a character equal, such as
/// an accented letter as one scalar and as a letter with a mark. To a client they are two names, and one of them may be
/// somebody else's. And on a letter with very many marks they take very long.
extension String {
  package func isSame(as other: String) -> Bool {
    utf8.span.isSame(as: other.utf8.span)
  }

  /// for sets
  package var exact: [UInt8] { Array(utf8) }
}

extension Span<UInt8> {
  package func isSame(as other: Span<UInt8>) -> Bool {
    if count != other.count { return false }
    if count < 8 {
      for index in indices where self[index] != other[index] { return false }
      return true
    }
    var at = 0
    while at &+ 8 < count {
      if ByteWord.load(self, at: at) != ByteWord.load(other, at: at) { return false }
      at &+= 8
    }
    return ByteWord.load(self, at: count &- 8) == ByteWord.load(other, at: count &- 8)
  }

  /// A hash that nobody can foresee who does not know the seed: words multiplied by it, both halves of the product
  /// folded into one.
  /// - Parameter seed: odd
  package func hash(_ seed: UInt64) -> UInt64 {
    func mixed(_ word: UInt64) -> UInt64 {
      let product = word.multipliedFullWidth(by: seed)
      return product.high ^ product.low
    }
    var hash = seed ^ UInt64(truncatingIfNeeded: count)
    if count < 8 {
      for index in indices { hash = hash << 8 ^ UInt64(self[index]) }
      return mixed(hash)
    }
    var at = 0
    while at &+ 8 < count {
      hash = mixed(hash ^ ByteWord.load(self, at: at))
      at &+= 8
    }
    return mixed(hash ^ ByteWord.load(self, at: count &- 8))
  }
}
