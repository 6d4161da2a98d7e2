import Testing

@testable import Sidecar

@Suite struct ContractTests {
  /// `sessionID` is `session_id`: a name for the wire is that of its case, in snake case, and no two are the same.
  @Test(arguments: ParameterName.allCases)
  func aParameterIsCalledOnTheWireWhatItIsCalledHere(_ name: ParameterName) {
    var wire = ""
    var wasUpper = false
    for letter in "\(name)" {
      if letter.isUppercase, !wasUpper { wire += "_" }
      wire += letter.lowercased()
      wasUpper = letter.isUppercase
    }
    #expect(name.wire == wire)
  }
}
