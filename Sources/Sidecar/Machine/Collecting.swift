import JSON
import JSONRPC
import SessionStore

/// Requests that were read and not run yet. Where the tables are shared, all that is at hand is collected before
/// anything of it is run, so that its locks can be taken together and in order; what comes later never joins.
struct Collected {
  /// in the order in which they came
  var units: ArraySlice<Unit> = []
  /// what all of them are about
  var needs = Needs()

  var isEmpty: Bool { units.isEmpty }
}

extension Sidecar {
  /// bytes that are collected, about
  package static let collectedBytes = 1 << 20

  /// Whether nothing may join a group that has begun.
  package var collects: Bool { store.isShared }

  /// Collects the lines that are at hand.
  func collect() {
    var (units, bytes) = ([Unit](), 0)
    while bytes < Self.collectedBytes, let line = lines.next() {
      let new = Self.units(of: line)
      bytes += new.reduce(0) { $0 + $1.text.count }
      units += new
    }
    collected = Collected(units: units[...], needs: needs(of: units))
  }

  private func needs(of units: [Unit]) -> Needs {
    var needs = Needs()
    for unit in units {
      if let method = parse(unit).method { add(method, call, to: &needs) }
    }
    return needs
  }

  func needs(of method: Method, _ call: Call) -> Needs {
    var needs = Needs()
    add(method, call, to: &needs)
    return needs
  }

  private func add(_ method: Method, _ call: Call, to needs: inout Needs) {
    method.need.add(call, to: &needs)
    // What runs others needs what they need.
    guard let inner = OperationMethods.innerCalls(method, call) else { return }
    for (method, call) in inner { add(method, call, to: &needs) }
  }
}
