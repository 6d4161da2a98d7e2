/// How a connection is made, and what is set on it. Times are milliseconds.
package struct PostgresOptions {
  package var address: PostgresAddress
  /// where the tables are; nil where that does not matter
  package var schema: String?
  package var mode = Mode.readWrite
  /// How long a server that is not there is waited for, at the start and when the connection was lost.
  package var waiting: Int64 = 5_000
  /// how long one statement waits for others
  package var lockTimeout: Int64 = 5_000
  /// how long one statement may take; nil: as long as it takes
  package var statementTimeout: Int64? = 30_000
  /// After so long without a word in an open transaction the server ends it: half of what others wait by default, so
  /// that they still get their locks when this process is stopped in the midst of one.
  package var idleInTransactionTimeout: Int64 = 2_500
  /// whether a commit waits for the disk; nil: as the server has it
  package var waitsForDisk: Bool?

  package enum Mode {
    case readOnly
    /// a server that only reads is none
    case readWrite
  }

  package init(address: String) {
    self.address = PostgresAddress(address)
  }
}
