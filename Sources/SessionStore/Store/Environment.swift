/// What the store takes from outside, so that a test can hand it any time and any chance.
package struct Environment {
  /// Unix milliseconds
  package var now: () -> Int64
  /// 64 random bits, from the system's generator unless in a test
  package var random: () -> UInt64
  /// Whether the time is that of the server where the store is on one, so that all who use it agree on deadlines.
  package var followsServer: Bool

  package init(
    now: @escaping () -> Int64, followsServer: Bool = false,
    random: @escaping () -> UInt64 = {
      var generator = SystemRandomNumberGenerator()
      return generator.next()
    }
  ) {
    self.now = now
    self.followsServer = followsServer
    self.random = random
  }
}
