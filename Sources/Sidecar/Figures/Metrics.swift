/// How often values fell where: four buckets for each power of two from 2^10 to 2^36, so that a quantile is at most a
/// fourth too high and a histogram never grows.
struct Histogram {
  private static let firstPower = 10
  private static let lastPower = 36

  /// from its lower edge (the first one: from 0) to the next one's
  private var buckets = [Int64](repeating: 0, count: (lastPower - firstPower) * 4)
  private(set) var count: Int64 = 0
  private(set) var sum: Int64 = 0

  /// - Parameter value: for times nanoseconds: from a microsecond to a minute the buckets are exact
  mutating func add(_ value: Int64) {
    let value = max(value, 0)
    buckets[Self.bucket(value)] += 1
    count += 1
    sum += value
  }

  private static func bucket(_ value: Int64) -> Int {
    let power = 63 - max(value, 1).leadingZeroBitCount
    if power < firstPower { return 0 }
    if power >= lastPower { return (lastPower - firstPower) * 4 - 1 }
    return (power - firstPower) * 4 + Int(value >> Int64(power - 2) & 3)
  }

  /// The value under which this share of all values lies, rounded up to the edge of its bucket; 0 without values.
  func quantile(percent: Int64) -> Int64 {
    var rest = (count * percent + 99) / 100
    for (bucket, count) in buckets.enumerated() where count > 0 {
      rest -= count
      if rest <= 0 { return Self.edge(bucket + 1) }
    }
    return 0
  }

  private static func edge(_ bucket: Int) -> Int64 {
    (4 + Int64(bucket % 4)) << Int64(bucket / 4 + firstPower - 2)
  }

  /// How many values lie below each power of two from one to another.
  func cumulative(powers: ClosedRange<Int>) -> [(edge: Int64, count: Int64)] {
    powers.map { power in
      (1 << Int64(power), buckets[..<((power - Self.firstPower) * 4)].reduce(0, +))
    }
  }
}

/// What this process has done since it began.
struct Metrics {
  struct Requests {
    var errors: Int64 = 0
    /// nanoseconds from the moment a request is taken up until its answer may leave: for a write, after the commit
    var latency = Histogram()
  }

  /// by the index of the method in its table; the last is for what is no method
  private(set) var methods: [Requests]
  let startedAt: Int64
  var bytesReceived: Int64 = 0
  var bytesSent: Int64 = 0
  /// nanoseconds
  private(set) var commits = Histogram()
  /// requests that a commit made durable
  private(set) var committed: Int64 = 0
  private(set) var largestGroup = 0

  init(methods: Int, startedAt: Int64) {
    self.methods = Array(repeating: Requests(), count: methods + 1)
    self.startedAt = startedAt
  }

  mutating func note(_ method: Int, nanoseconds: Int64) {
    methods[method].latency.add(nanoseconds)
  }

  /// - Parameter end: when the answers of these requests could leave, in nanoseconds
  mutating func note(_ requests: [(method: Int, start: Int64)], end: Int64) {
    for request in requests { methods[request.method].latency.add(end - request.start) }
  }

  mutating func noteError(_ method: Int) { methods[method].errors += 1 }

  mutating func noteCommit(of requests: Int, nanoseconds: Int64) {
    commits.add(nanoseconds)
    committed += Int64(requests)
    largestGroup = max(largestGroup, requests)
  }

  var requests: Int64 { methods.reduce(0) { $0 + $1.latency.count } }
  var errors: Int64 { methods.reduce(0) { $0 + $1.errors } }
}
