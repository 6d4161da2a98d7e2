import SessionStore

/// The parts of the reliability tests that need the product's own rooms: `disk-faults power-cut DIRECTORY SEED IMAGES`.
/// Each line of the output is one promise, as JSON.
@main
enum Main {
  static func main() throws {
    let words = CommandLine.arguments
    guard words.count == 5, let seed = UInt64(words[3]), let size = Int(words[4]) else {
      print("disk-faults: expected a part, a directory, a seed and a size")
      return
    }
    Disk.install()
    switch words[1] {
    case "power-cut": try powerCut(words[2], seed, images: size)
    default: print("disk-faults: no part is called \(words[1])")
    }
  }

  /// One promise with what was tried and what broke, as a line of JSON.
  static func tell(_ promise: String, tried: String, broken: [String]) {
    print(#"{"promise":\#(quoted(promise)),"tried":\#(quoted(tried)),"broken":[\#(broken.map(quoted).joined(separator: ","))]}"#)
  }

  private static func quoted(_ text: String) -> String {
    let escaped = text.unicodeScalars.map { scalar in
      switch scalar {
      case "\"": "\\\""
      case "\\": "\\\\"
      case _ where scalar.value < 32: " "
      default: String(scalar)
      }
    }
    return "\"" + escaped.joined() + "\""
  }

  static func powerCut(_ directory: String, _ seed: UInt64, images: Int) throws {
    let small = Workload.everything
    let model = try Reference(small.requests)
    for opening in Opening.all {
      var cut = PowerCut(directory, opening, small, model, seed: seed)
      let clock = ContinuousClock()
      print(try clock.measure { print("steps", try cut.life().count) })
      print(try clock.measure { try cut.tryEveryMoment(atMost: images) })
      var kinds: [String: Int] = [:]
      for text in cut.tally.broken { kinds[String(text.drop { $0 != ":" }), default: 0] += 1 }
      print(kinds)
      tell("x " + opening.name, tried: "\(cut.tally.images) images \(cut.tally.equal) equal \(cut.tally.lost) lost", broken: Array(cut.tally.broken.prefix(5)))
    }
  }
}
