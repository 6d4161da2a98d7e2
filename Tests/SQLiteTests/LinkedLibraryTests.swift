import SQLite
import Testing

@Suite struct LinkedLibraryTests {
  /// Repaired in 3.51.3, and for older lines in 3.50.7 and 3.44.6.
  @Test func theVersionsThatCanLoseACommit() {
    for version in [3_007_000, 3_040_001, 3_044_005, 3_045_000, 3_050_006, 3_051_000, 3_051_002] {
      #expect(canLoseCommits(version), "\(version)")
    }
    for version in [3_006_023, 3_044_006, 3_044_999, 3_050_007, 3_051_003, 3_052_000, 4_000_000] {
      #expect(!canLoseCommits(version), "\(version)")
    }
  }

  @Test func theNumberAndTheTextAreThoseOfOneVersion() {
    let parts = linkedVersion.split(separator: ".").compactMap { Int($0) }
    #expect(canLoseCommits(parts[0] * 1_000_000 + parts[1] * 1_000 + parts[2]) == linkedVersionCanLoseCommits)
  }
}
