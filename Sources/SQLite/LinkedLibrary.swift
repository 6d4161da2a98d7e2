internal import CSQLite

/// The version of the SQLite library that is linked, such as "3.40.1".
package var linkedVersion: String { unsafe String(cString: sqlite3_libversion()) }

/// Whether it is one of those that can lose a committed transaction when two connections write and checkpoint at the
/// same instant: from 3.7.0 until 3.51.3, without 3.44.6 and 3.50.7 and what followed them.
package var linkedVersionCanLoseCommits: Bool { canLoseCommits(Int(sqlite3_libversion_number())) }

/// - Parameter version: as SQLite counts: 3,040,001 for 3.40.1
package func canLoseCommits(_ version: Int) -> Bool {
  switch version {
  case 3_044_006..<3_045_000, 3_050_007..<3_051_000: false
  case 3_007_000..<3_051_003: true
  default: false
  }
}
