import JSON
import JSONRPC
import SessionStore

/// What requests have been answered, and everything that this process remembers of having run them: it is taken back
/// as one when they are run again or refused.
struct Answers {
  /// answers, of which those of an open group may not leave yet
  var output = JSONWriter()
  /// what clients wait for
  var subscriptions = Subscriptions()
  /// told to stop by `shutdown`
  var isShuttingDown = false
  /// the methods that were answered with errors, for the metrics
  private(set) var errors: [Int] = []
  /// what is to be told of requests
  var logged: [LoggedRequest] = []
  private var batch = Batch()

  /// How far the batch that is being answered has come.
  struct Batch {
    var start = 0
    var hasAnswers = false
  }

  /// A point between two requests.
  struct Mark {
    fileprivate let output: Int
    fileprivate let batch: Batch
    fileprivate let subscriptions: Subscriptions.Mark
    fileprivate let isShuttingDown: Bool
    fileprivate let errors: Int
    fileprivate let logged: Int
  }

  /// Mutating, although it changes nothing, as is what else every request asks: to look at a part of what an object
  /// holds would copy the whole, which is five hundred instructions.
  var mark: Mark {
    mutating get {
      Mark(
        output: output.count, batch: batch, subscriptions: subscriptions.mark, isShuttingDown: isShuttingDown,
        errors: errors.count, logged: logged.count)
    }
  }

  mutating func rewind(to mark: Mark) {
    output.rewind(to: mark.output)
    batch = mark.batch
    subscriptions.rewind(to: mark.subscriptions)
    isShuttingDown = mark.isShuttingDown
    errors.removeLast(errors.count - mark.errors)
    logged.removeLast(logged.count - mark.logged)
  }

  /// whether nothing waits for ``settle()``
  var isSettled: Bool { mutating get { errors.isEmpty && logged.isEmpty && subscriptions.isSettled } }

  /// What was answered holds: no mark from before is returned to any more.
  mutating func settle() {
    subscriptions.settle()
    errors.removeAll(keepingCapacity: true)
    logged.removeAll(keepingCapacity: true)
  }

  /// bytes since a mark
  func count(since mark: Mark) -> Int { output.count - mark.output }

  // MARK: - One answer

  mutating func begin(_ unit: Unit) {
    guard unit.isInBatch else { return }
    if unit.opensBatch { batch = Batch(start: output.count) }
    output.raw(batch.hasAnswers ? "," : "[")
  }

  /// Bytes that the result of a request may have: a batch shares the limit of one answer.
  /// - Throws: `payload_too_large` when nothing is left
  mutating func budget(_ unit: Unit, limit: Int) throws -> Int {
    if !unit.isInBatch { return limit }
    let budget = limit - (output.count - batch.start)
    if budget <= 0 {
      throw RPCError.payloadTooLarge("The answer to this batch; send the rest apart: it", limit: limit)
    }
    return budget
  }

  /// Writes an error in the place of what was answered since `mark`.
  mutating func fail(_ unit: Unit, _ error: RPCError, method: Int, id: Span<UInt8>, since mark: Mark) {
    rewind(to: mark)
    begin(unit)
    errors.append(method)
    Response.write(error, id: id, to: &output)
  }

  /// - Parameter mark: where the answer began, which a notification does not get
  mutating func end(_ unit: Unit, isNotification: Bool, since mark: Mark) {
    if isNotification { output.rewind(to: mark.output) } else { batch.hasAnswers = true }
    if !unit.isInBatch {
      if !isNotification { output.raw("\n") }
    } else if unit.closesBatch, batch.hasAnswers {
      output.raw("]\n")
    }
  }
}
