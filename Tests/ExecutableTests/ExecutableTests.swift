import Glibc
import Testing

/// The binary as Swift programs start it. What the wire says in detail is tested from Python (Tests/Wire).
struct ExecutableTests {
  private let folder = Folder()

  @Test func `a session made by one process is there in the next`() throws {
    let first = try Child("--database", folder.database)
    let made = try first.ask(
      #"{"jsonrpc":"2.0","id":1,"method":"create_session","params":{"session_id":"s-1","user_id":"user-1"}}"#)
    #expect(made.hasPrefix(#"{"jsonrpc":"2.0","id":1,"result":{"session_id":"s-1""#))
    first.closeInput()
    #expect(try first.rest().isEmpty)
    #expect(first.exitStatus() == 0)

    let second = try Child("--database", folder.database)
    let found = try second.ask(#"{"jsonrpc":"2.0","id":1,"method":"get_session","params":{"session_id":"s-1"}}"#)
    #expect(found == made)
    second.closeInput()
    #expect(second.exitStatus() == 0)
  }

  @Test func `ten thousand requests in one write are answered in their order`() throws {
    let child = try Child("--database", folder.database)
    _ = try child.ask(#"{"jsonrpc":"2.0","id":0,"method":"create_session","params":{"session_id":"s-1"}}"#)
    let count = 10_000
    let requests = (1...count).map {
      #"{"jsonrpc":"2.0","id":\#($0),"method":"store_event","params":{"session_id":"s-1","data":\#($0)}}"# + "\n"
    }
    try child.write(requests.joined())
    child.closeInput()
    let answers = try child.rest()
    #expect(answers.count == count)
    for (index, answer) in answers.enumerated() {
      try #require(answer.hasPrefix(#"{"jsonrpc":"2.0","id":\#(index + 1),"result":{"id":\#(index + 1),"#))
    }
    #expect(child.exitStatus() == 0)
  }

  @Test func `a terminating signal ends it as the end of the input does`() throws {
    let child = try Child("--database", folder.database)
    let made = try child.ask(
      #"{"jsonrpc":"2.0","id":1,"method":"create_session","params":{"session_id":"s-1"}}"#)
    #expect(made.contains(#""result""#))
    kill(child.processID, SIGTERM)
    #expect(try child.rest().isEmpty)
    #expect(child.exitStatus() == 0)
  }
}
