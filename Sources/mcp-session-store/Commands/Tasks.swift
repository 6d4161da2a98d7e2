import JSON
import SessionStore
import Sidecar

extension Command {
  static var tasks: Command {
    Command(
      name: "tasks", summary: "lists tasks in the order of creation",
      details: ["Tasks that have lapsed and wait for their removal are left out."],
      options: [
        .database, .schema, .busyTimeout,
        Option(
          name: "--session", placeholder: "ID", summary: "those of this session", value: .text { $0.session = $1 }),
        .tenant, .principal, .status(TaskStatus.allCases.map(\.rawValue), "those with this status"), .limit,
        .json("one task per line, as list_tasks answers them"),
      ],
      run: tasks)
  }

  private static func tasks(_ arguments: Arguments) throws(Failure) -> ExitCode {
    let scope = TaskScope(sessionID: arguments.session, owner: arguments.owner)
    let status = arguments.status.flatMap(TaskStatus.init)
    var table = TextTable([
      .init(title: "TASK"), .init(title: "STATUS"), .init(title: "SESSION", mayBeCut: true),
      .init(title: "METHOD", mayBeCut: true), .init(title: "CREATED", mayBeCut: true),
      .init(title: "UPDATED", mayBeCut: true), .init(title: "MESSAGE", mayBeCut: true),
    ])
    return try arguments.list(&table) { store, page in
      try store.listTasks(status: status, scope: scope, after: page.after, limit: page.limit) { task, number in
        try page.add(number, { try $0.task(task) }) {
          [
            .init(task.taskID), .init(task.status.rawValue), .init(task.sessionID ?? ""),
            .init(task.originalMethod ?? ""), .init(time: task.createdAt), .init(time: task.lastUpdatedAt),
            .init(task.statusMessage ?? ""),
          ]
        }
      }
    }
  }
}
