import JSON
import JSONRPC
import SessionStore

/// Requests that were read and not run yet. Where the tables are shared, all that is at hand is collected before
/// anything of it is run, so that its locks can be taken together and in order; what comes later never joins.
struct Collected {
  /// in the order in which they came
  fileprivate(set) var units: ArraySlice<CollectedUnit> = []
  /// the parameters of all of them
  fileprivate(set) var given: [Call.Given] = []
  /// what all of them are about
  fileprivate(set) var needs = Needs()

  var isEmpty: Bool { units.isEmpty }

  mutating func popFirst() -> CollectedUnit? { units.popFirst() }
}

/// A unit with what it turned out to be when it was collected, so that it is parsed once.
struct CollectedUnit {
  let unit: Unit
  /// nil for one that is refused: why is found out again when it is its turn
  let request: CollectedRequest?
}

/// A request whose parameters are in order.
struct CollectedRequest {
  let parsed: ParsedRequest
  /// which of those that were collected are its own
  let given: Range<Int>
}

extension Sidecar {
  /// bytes that are collected, about
  package static let collectedBytes = 1 << 20

  /// Whether nothing may join a group that has begun.
  package var collects: Bool { store.isShared }

  /// Collects the lines that are at hand.
  func collect() {
    var (new, units, bytes) = (Collected(), [CollectedUnit](), 0)
    func add(_ unit: Unit) {
      bytes += unit.text.count
      units.append(CollectedUnit(unit: unit, request: take(unit, &new)))
    }
    while bytes < Self.collectedBytes, let line = lines.next() {
      switch line {
      case .tooLong(let prefix): add(.tooLong(prefix))
      case .complete(let text):
        guard let batch = Unit.batch(text) else {
          add(Unit(text))
          continue
        }
        for unit in batch { add(unit) }
      }
    }
    new.units = units[...]
    collected = new
  }

  private func take(_ unit: Unit, _ new: inout Collected) -> CollectedRequest? {
    let parsed = parse(unit)
    guard let method = parsed.method else { return nil }
    add(method, call, to: &new.needs)
    return CollectedRequest(parsed: parsed, given: call.append(to: &new.given))
  }

  /// Parses a unit, unless that was done when it was collected.
  func parse(_ unit: Unit, _ collectedRequest: CollectedRequest?) -> ParsedRequest {
    guard let known = collectedRequest else { return parse(unit) }
    call.load(collected.given[known.given], of: unit.text, payloadLimit: store.limits.maxPayloadBytes)
    return known.parsed
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
