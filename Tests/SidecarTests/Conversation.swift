import Foundation
import SQLite
import SessionStore

@testable import Sidecar

/// A machine on a store in memory, with a clock that is set by hand.
final class Conversation {
  final class Clock {
    var now: Int64 = 1_795_210_000_000
    /// called whenever the clock is read
    var read: () -> Void = {}
  }

  let clock = Clock()
  let store: Store
  let sidecar: Sidecar

  init(
    path: String = ":memory:", limits: Limits = Limits(), maxResultBytes: Int = 8 << 20, outputBound: Int = 64 << 20
  ) throws {
    store = try Store.open(path, limits: limits, environment: Environment(now: { [clock] in
      clock.read()
      return clock.now
    }))
    var options = Sidecar.Options()
    options.maxResultBytes = maxResultBytes
    options.outputBound = outputBound
    sidecar = Sidecar(store: store, options: options)
  }

  /// What all of these lines, which come at once, are answered, with the notifications between the answers.
  func answers(_ lines: String...) -> [String] {
    sidecar.receive(Array((lines.joined(separator: "\n") + "\n").utf8))
    var output: [UInt8] = []
    repeat {
      sidecar.deliver(room: 1 << 20)
      sidecar.moveOutput(to: &output)
    } while sidecar.run()
    sidecar.closeGroup()
    return told(&output)
  }

  var hasDue: Bool { sidecar.group.answers.subscriptions.hasDue }

  /// What is told without a request.
  func tick() -> [String] {
    var output: [UInt8] = []
    sidecar.tick(room: 1 << 20)
    return told(&output)
  }

  private func told(_ output: inout [UInt8]) -> [String] {
    sidecar.deliver(room: 1 << 20)
    var moved: [UInt8] = []
    sidecar.moveOutput(to: &moved)
    return (output + moved).split(separator: 0x0A).map { String(decoding: $0, as: UTF8.self) }
  }
}

/// A request without an id of its own.
func call(_ method: String, _ params: String = "{}") -> String {
  #"{"jsonrpc":"2.0","id":1,"method":"\#(method)","params":\#(params)}"#
}

extension String {
  /// whether it is an answer with this error
  func isError(_ kind: String) -> Bool { contains(#""kind":"\#(kind)""#) }

  /// the result of an answer
  var result: String { components(separatedBy: #""result":"#).dropFirst().joined().dropLast().description }
}
