import JSON
import JSONRPC
import SessionStore

/// How much is told of requests.
extension Sidecar {
  package enum LogLevel: String, CaseIterable, Sendable, Comparable {
    /// requests that were answered with an error
    case error
    /// every request
    case info
    /// commits too
    case debug

    private var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }
    package static func < (first: Self, second: Self) -> Bool { first.rank < second.rank }
  }
}

/// What is told of a request once its answer holds: never anything that a caller chose freely.
struct LoggedRequest {
  /// of the method in its table
  var method: Int
  /// nanoseconds
  var start: Int64
  /// the kind of its error
  var error: String?
  var sessionID: String?
  var taskID: String?
}

extension Sidecar {
  /// Remembers a request that is being answered, for ``settle()`` to tell.
  func log(_ request: ParsedRequest, _ error: String?) {
    guard let level = options.logLevel, error != nil || level >= .info else { return }
    // Otherwise its parameters were not taken, and others may lie there.
    let isKnown = request.error == nil
    group.answers.logged.append(
      LoggedRequest(
        method: request.index, start: running.start, error: error, sessionID: isKnown ? ownID(.sessionID) : nil,
        taskID: isKnown ? ownID(.taskID) : nil))
  }

  /// An id of the kind that is made here. Another may be a name, or anything else that a caller wrote.
  private func ownID(_ name: ParameterName) -> String? {
    guard call.mentions(name), let id = call.optionalString(name), id.utf8.count == 36 else { return nil }
    let isUUID = id.utf8.enumerated().allSatisfy { index, byte in
      switch byte {
      case UInt8(ascii: "-"): [8, 13, 18, 23].contains(index)
      case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"):
        ![8, 13, 18, 23].contains(index)
      default: false
      }
    }
    return isUUID ? id : nil
  }

  /// Tells what was remembered.
  func tellLogged() {
    if group.answers.logged.isEmpty { return }
    for request in group.answers.logged { tell(request) }
  }

  /// Tells of a request whose answer holds.
  func tell(_ request: LoggedRequest) {
    let level = request.error == nil ? LogLevel.info : .error
    guard let wanted = options.logLevel, wanted >= level else { return }
    let methods = MethodTable.all.methods
    tell(level) { line in
      line.member("method", methods.indices.contains(request.method) ? methods[request.method].name : "unknown")
      line.member("duration_us", max(0, host.monotonic() - request.start) / 1_000)
      line.member("outcome", request.error ?? "ok")
      if let id = request.sessionID { line.member("session_id", id) }
      if let id = request.taskID { line.member("task_id", id) }
    }
  }

  /// Tells of a commit.
  func tellCommit(of requests: Int, nanoseconds: Int64) {
    guard options.logLevel == .debug else { return }
    tell(.debug) { line in
      line.member("commit", Int64(requests))
      line.member("duration_us", nanoseconds / 1_000)
    }
  }

  private func tell(_ level: LogLevel, _ write: (inout JSONWriter) -> Void) {
    var line = JSONWriter()
    line.beginObject()
    line.member("time", store.currentTime())
    line.member("level", level.rawValue)
    write(&line)
    line.endObject()
    line.raw("\n")
    host.log(line.take())
  }
}
