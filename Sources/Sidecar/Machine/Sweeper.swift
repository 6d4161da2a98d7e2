import JSONRPC
import SessionStore

/// What happens without a request: jobs go on, subscribers are served and what has expired is removed, in slices
/// between requests.
extension Sidecar {
  /// milliseconds between two sweeps
  static let sweepInterval: Int64 = 60_000
  /// Milliseconds between two slices of a sweep, also of one that met another writer. What a large sweep writes makes
  /// checkpoints due, and so they stay rare enough not to be what requests wait for.
  private static let sweepPause: Int64 = 5

  /// How long the process may wait for input before it calls ``tick(room:)``.
  package var millisecondsUntilTick: Int64 {
    let now = store.currentTime()
    if canDeliver { return 0 }
    // A clock that was set back must not make the wait longer than a sweep is apart.
    var wait = min(max(0, nextSweep - now), Self.sweepInterval)
    if !group.answers.subscriptions.isEmpty {
      // Nor must one that is set forward, as when the machine has slept, make anybody late by more than a second.
      if let next = group.answers.subscriptions.nextDeadline { wait = min(wait, max(0, next - now), 1_000) }
      if !store.isAlone { wait = min(wait, lookout.wait(at: moment)) }
    }
    return jobs.isEmpty ? wait : min(wait, millisecondsUntilJobs)
  }

  /// Does what is due; called between any two reads of input.
  /// - Parameter room: bytes that may be added to the output
  package func tick(room: Int) {
    guard !hasOpenGroup else { return }
    advanceJobs(room: room)
    guard phase == .serving else { return }
    let now = store.currentTime()
    if !group.answers.subscriptions.isEmpty {
      group.answers.subscriptions.noteDeadlines(at: now)
      lookForOthers()
    }
    if now >= nextSweep || nextSweep - now > Self.sweepInterval { sweepSlice(now) }
  }

  private func sweepSlice(_ now: Int64) {
    store.beginRequest()
    do {
      let swept = try store.sweepSlice()
      sweepFailure = nil
      nextSweep = now + (swept.hasMore ? Self.sweepPause : Self.sweepInterval)
      noteChanges()
    } catch StoreError.busy {
      nextSweep = now + Self.sweepPause
    } catch let error as StoreError where error.endsProcess {
      giveUp(error)
    } catch {
      // Expiry is checked on every access, so nothing wrong is seen meanwhile; health tells.
      sweepFailure = RPCError.of(error).message
      nextSweep = now + Self.sweepInterval
    }
  }
}
