/// Compiled statements by the address of the SQL literal that each was made from.
///
/// Every request needs a few, so finding one is to cost a few instructions: a dictionary takes 170, most of them for a
/// hash that withstands an attacker, and nobody chooses the addresses of literals.
struct LiteralStatements {
  /// 0 where there is none; its size is a power of two
  private var addresses = [UInt](repeating: 0, count: 256)
  private var statements = [PreparedStatement?](repeating: nil, count: 256)
  private var count = 0

  subscript(address: UInt) -> PreparedStatement? {
    get { statements[place(of: address)] }
    set {
      if count * 2 >= addresses.count { grow() }
      let place = place(of: address)
      if addresses[place] == 0 { count += 1 }
      (addresses[place], statements[place]) = (address, newValue)
    }
  }

  mutating func removeAll() { self = LiteralStatements() }

  /// Where it is, or where there is room for it: at least half of the places are free.
  private func place(of address: UInt) -> Int {
    let mask = addresses.count - 1
    // Fibonacci hashing: literals lie behind one another, at distances that have much in common.
    var place = Int(truncatingIfNeeded: (address &* 0x9E37_79B9_7F4A_7C15) >> 32) & mask
    while addresses[place] != address, addresses[place] != 0 { place = (place &+ 1) & mask }
    return place
  }

  private mutating func grow() {
    let (oldAddresses, oldStatements) = (addresses, statements)
    addresses = [UInt](repeating: 0, count: oldAddresses.count * 2)
    statements = [PreparedStatement?](repeating: nil, count: oldAddresses.count * 2)
    for (address, statement) in zip(oldAddresses, oldStatements) where address != 0 {
      let place = place(of: address)
      (addresses[place], statements[place]) = (address, statement)
    }
  }
}
