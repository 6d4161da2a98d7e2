import Database
internal import SQLite

/// What a look at the contents found that may be ended at any time.
package struct QuickCheck {
  package enum Reach: Equatable {
    /// the structure, and all rules of the store
    case everything
    /// the structure, and some of the rules
    case structure(rules: Int, of: Int)
    /// not even all of the structure
    case part
  }

  /// one sentence for each
  package internal(set) var problems: [String] = []
  package internal(set) var reach = Reach.part
}

/// Ends a check from another thread.
package struct Interruption: Sendable {
  let progress = WorkProgress()

  package init() {}

  /// Call it again and again: one that comes between two statements is lost.
  package func interrupt() { progress.cancel() }
}

extension Store {
  /// Looks for damage without comparing indexes with their tables, and then at the store's own rules; call it inside
  /// ``read(_:)``.
  package func quickCheck(_ interruption: Interruption) throws -> QuickCheck {
    let progress = interruption.progress
    var check = QuickCheck()
    guard let connection = file?.connection else {
      check.problems = try Integrity.brokenRules(in: tables.connection(.server), progress)
      check.reach = .everything
      return check
    }
    do {
      try connection.interruptibly(progress) {
        check.problems = try Integrity.damage(in: connection, "quick_check")
        try progress.check()
        check.reach = .structure(rules: 0, of: Integrity.ruleCount)
        if !check.problems.isEmpty { return }
        check.problems = try Integrity.brokenRules(in: tables.connection(.server), progress) {
          check.reach = .structure(rules: $0, of: Integrity.ruleCount)
        }
        check.problems += try AuditCheck.run(in: tables) { try progress.check() }.problems
        check.reach = .everything
      }
    } catch is WorkCancelled {
    } catch {
      guard let error = Integrity.databaseError(error) else { throw error }
      if progress.isCancelled { return check }
      switch error.class {
      case .corrupt, .notADatabase, .other: check.problems.append(error.message)
      case .busy, .full, .readOnly, .cannotOpen, .inputOutput, .again, .unreachable, .badAddress, .noLibrary:
        throw error
      }
    }
    return check
  }
}
