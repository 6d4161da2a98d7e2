import JSON
import SessionStore
import Sidecar

extension Command {
  static var sessions: Command {
    Command(
      name: "sessions", summary: "lists sessions in the order of creation",
      details: ["Expired ones that wait for their removal are listed only with --status expired."],
      options: [
        .database, .schema, .busyTimeout, .maxSuspension, .retainEnded,
        Option(
          name: "--include-ended", summary: "also those that have ended and are kept", value: .flag(\.includeEnded)),
        Option(name: "--user", placeholder: "ID", summary: "those of this user", value: .text { $0.user = $1 }),
        .tenant, .principal, .status(SessionStatus.allCases.map(\.rawValue), "those with this status"), .limit,
        .json("one session per line, as list_sessions answers them"),
      ],
      run: sessions)
  }

  private static func sessions(_ arguments: Arguments) throws(Failure) -> ExitCode {
    let filter = SessionFilter(
      userID: arguments.user, status: arguments.status.flatMap(SessionStatus.init), owner: arguments.owner)
    var table = TextTable([
      .init(title: "SESSION"), .init(title: "STATUS"), .init(title: "USER", mayBeCut: true),
      .init(title: "TENANT", mayBeCut: true), .init(title: "PRINCIPAL", mayBeCut: true),
      .init(title: "CREATED", mayBeCut: true), .init(title: "LAST ACTIVITY", mayBeCut: true),
      .init(title: "LAST EVENT", alignment: .right),
    ])
    return try arguments.list(&table) { store, page in
      try store.listSessions(filter, after: page.after, limit: page.limit, includeState: false) { session, number in
        page.add(number, { $0.session(session) }) {
          [
            .init(session.sessionID), .init(session.status.rawValue), .init(session.userID ?? ""),
            .init(session.tenantID ?? ""), .init(session.principal ?? ""), .init(time: session.createdAt),
            .init(time: session.lastActivity), .init(String(session.lastEventID)),
          ]
        }
      }
    }
  }
}
