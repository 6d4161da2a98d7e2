/// What commits changed that somebody may be waiting for.
package struct StoreChanges {
  /// numbers of sessions whose events or status changed, or that are gone
  package var sessions: Set<SessionNumber> = []
  /// whether any task changed
  package var tasks = false
}
