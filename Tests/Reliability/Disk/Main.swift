import SessionStore

/// The parts of the reliability tests that need the product's own rooms, for the Python modules beside this folder.
/// Each line of the output is one promise, with what was tried and what broke, as JSON.
@main
enum Main {
  static let usage = "usage: disk-faults power-cut|io-faults|upgrade DIRECTORY SEED short|long"

  static func main() throws {
    let words = CommandLine.arguments
    guard words.count == 5, let seed = UInt64(words[3]), ["short", "long"].contains(words[4]) else {
      return print(usage)
    }
    let isLong = words[4] == "long"
    Disk.install()
    switch words[1] {
    case "power-cut": try powerCut(words[2], seed, isLong)
    case "io-faults": try ioFaults(words[2], isLong)
    case "upgrade": try upgrade(words[2], seed, isLong)
    default: print(usage)
    }
  }

  // MARK: - The parts

  private static func powerCut(_ directory: String, _ seed: UInt64, _ isLong: Bool) throws {
    let small = Workload.everything
    let model = try Reference(small.requests)
    for opening in Opening.all {
      var cut = PowerCut(directory, opening, small, model, seed: seed)
      try cut.tryEveryMoment(atMost: isLong ? nil : 6)
      tell(promise(opening), "at every write of a small workload, \(cut.tally)", cut.tally.broken)

      var tally = PowerCut.Tally()
      for number in 0..<UInt64(isLong ? 67 : 1) {
        let work = Workload.random(seed &+ number, count: isLong ? 400 : 250)
        var cut = PowerCut(directory, opening, work, try Reference(work.requests), seed: seed &+ number)
        try cut.trySome(isLong ? 1_000 : 670)
        tally += cut.tally
      }
      tell(promise(opening), "by chance in large workloads, \(tally)", tally.broken)
    }
    // A disk that lies must be found out, or the test proves nothing.
    var lying = PowerCut(directory, Opening(), small, model, seed: seed)
    lying.lies = true
    try lying.tryEveryMoment(atMost: 3)
    tell(
      "the test finds what is lost when syncs are not done",
      "\(lying.tally.broken.count) of \(lying.tally.images) images",
      lying.tally.broken.isEmpty ? ["every image was as it should be"] : [])
  }

  private static func promise(_ opening: Opening) -> String {
    let whole = "after a power cut nothing is damaged or half there"
    let what = opening.durability == .full ? "nothing answered is gone" : "only the last commits may be gone"
    return "\(opening.name): \(whole), \(what), no id comes twice"
  }

  private static func ioFaults(_ directory: String, _ isLong: Bool) throws {
    let model = try Reference(Workload.everything.requests)
    for opening in Opening.all {
      var faults = IOFaults(directory, opening, model)
      try faults.runAll(atMost: isLong ? nil : 20)
      tell(
        "\(opening.name): a disk that fails is told as that, nothing is acknowledged falsely, and service goes on",
        "\(Fault.all.count) faults, \(faults.tally)", faults.tally.broken)
    }
    var short = IOFaults(directory, Opening(), model)
    short.runWithShortTransfers("half of each transfer") { _, count in (count + 1) / 2 }
    short.runWithShortTransfers("1 byte now and then") { number, count in number % 5 == 0 ? 1 : count }
    short.runWithShortTransfers("interrupted now and then") { number, count in number % 3 == 0 ? -1 : count }
    tell("nobody notices transfers that are short or interrupted", "\(short.tally.runs) runs", short.tally.broken)

    var lying = IOFaults(directory, Opening(), model)
    for number in stride(from: 20, to: 300, by: 20) { lying.run(.lie, at: number, .always) }
    tell(
      "the test finds what is lost when writes are not done",
      "\(lying.tally.broken.count) findings in \(lying.tally.runs) runs",
      lying.tally.broken.isEmpty ? ["every run was as it should be"] : [])
  }

  /// What the directory `old` holds: folders, each with the files of a database as an earlier version left them.
  private static func upgrade(_ directory: String, _ seed: UInt64, _ isLong: Bool) throws {
    for name in ["closed", "hot", "copy"] {
      let old = Folder.image(at: directory + "/old/" + name)
      for schema in Upgrade.schemas {
        var upgrade = Upgrade(directory, old, to: schema, seed: seed)
        try upgrade.run(atMost: isLong ? nil : 8)
        tell(
          "\(name), to version \(schema.version): a power cut within a migration leaves the old file or the new one",
          "\(upgrade.tally)", upgrade.tally.broken)
      }
    }
    let broken = try Upgrade.refusals(directory, Folder.image(at: directory + "/old/closed"))
    tell("a file of a newer version is refused with both numbers and left as it was", "6 older versions", broken)
  }

  // MARK: - Telling

  private static func tell(_ promise: String, _ tried: String, _ broken: [String]) {
    let list = broken.map(quoted).joined(separator: ",")
    print(#"{"promise":\#(quoted(promise)),"tried":\#(quoted(tried)),"broken":[\#(list)]}"#)
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
}
