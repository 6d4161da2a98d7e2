import JSON

/// Where a task stands. The last three are terminal.
package enum TaskStatus: String, Sendable, CaseIterable {
  case working
  case inputRequired = "input_required"
  case completed, failed, cancelled

  package var isTerminal: Bool {
    switch self {
    case .working, .inputRequired: false
    case .completed, .failed, .cancelled: true
    }
  }
}
