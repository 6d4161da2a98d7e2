/// What someone who mistyped a name most likely meant.
package enum NearestName {
  /// The name with the fewest letters to change, if those are few enough.
  package static func of(_ names: [String], to name: String) -> String? {
    let wanted = Array(name.utf8.prefix(64))
    let distances = names.map { (distance: distance(wanted, Array($0.utf8)), name: $0) }
    guard let best = distances.min(by: { $0.distance < $1.distance }) else { return nil }
    return best.distance <= max(2, wanted.count / 3) ? best.name : nil
  }

  /// Levenshtein's distance
  private static func distance(_ first: [UInt8], _ second: [UInt8]) -> Int {
    var row = Array(0...second.count)
    for (i, a) in first.enumerated() {
      var diagonal = row[0]
      row[0] = i + 1
      for (j, b) in second.enumerated() {
        let above = row[j + 1]
        row[j + 1] = min(above + 1, row[j] + 1, diagonal + (a == b ? 0 : 1))
        diagonal = above
      }
    }
    return row[second.count]
  }
}
