import JSON
import Sidecar

extension Command {
  static var describe: Command {
    Command(
      name: "describe", summary: "prints the contract as an OpenRPC document",
      details: ["The document that rpc.discover answers, indented for people."], run: describe)
  }

  private static func describe(_ arguments: Arguments) throws(Failure) -> ExitCode {
    try Output.write(json: Sidecar.contract.indented + [UInt8(ascii: "\n")])
    return .success
  }
}
