import JSON
import JSONReference

/// Any bytes: the scanner, the plain grammar and the readers of parts agree on them. As the content of a string they
/// are written and read back the same.
@c public func LLVMFuzzerTestOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = unsafe Array(UnsafeBufferPointer(start: start, count: count))
  if let found = disagreement(over: bytes) { fatalError(found) }
  let text = String(decoding: bytes, as: UTF8.self)
  var writer = JSONWriter()
  writer.string(text)
  let written = writer.take()
  if let error = verdict(written) { fatalError("\(error) in what was written: \(shown(written))") }
  // By bytes: Swift holds strings equal that are spelled differently in Unicode.
  let read = JSONText(validated: written[...]).decodedString
  if read.map({ Array($0.utf8) }) != Array(text.utf8) { fatalError("not read as written: \(shown(written))") }
  return 0
}
