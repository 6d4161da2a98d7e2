import JSON
import SQLite
import SessionStore

/// The process itself: section 9 of the contract.
enum OperationMethods {
  static let all: [Method] = [serverInfo, discover, shutdown]

  private static let serverInfo = Method(
    name: "server_info", summary: "What this program is, what it can do and what its limits are.", access: .none,
    isTransactional: false, parameters: [], result: .reference("ServerInfo"),
    example: (
      "{}",
      #"""
      {"name":"mcp-session-store","version":"0.1.0"}
      """#
    )
  ) { sidecar, _, writer in
    writer.beginObject()
    writer.member("name", "mcp-session-store")
    writer.endObject()
  }

  private static let discover = Method(
    name: "rpc.discover", summary: "This contract as an OpenRPC document.", access: .none, isTransactional: false,
    parameters: [], result: .object, example: ("{}", "{}")
  ) { _, _, writer in
    OpenRPC.write(to: &writer)
  }

  private static let shutdown = Method(
    name: "shutdown", summary: "Ends the process once everything before it is answered.", access: .none,
    isTransactional: false, parameters: [], result: .object, example: ("{}", "{}")
  ) { sidecar, _, writer in
    sidecar.shutDown()
    writer.beginObject()
    writer.endObject()
  }
}
