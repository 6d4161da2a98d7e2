extension Either {
  static let all = numbers + surrogates + encodings + structure

  private static let opaque = "numbers are never decoded on the way, so no size can hurt"

  static let numbers = [
    accepted("number, huge exponent", because: opaque, "[0.4e006699999999999999999999999999999999999999]"),
    accepted("number, negative, huge exponent", because: opaque, "[-1e+9999]"),
    accepted("number, huge exponent behind a fraction", because: opaque, "[1.5e+9999]"),
    accepted("number, huge negative exponent", because: opaque, "[123.456e-789]"),
    accepted("number, tiny, long exponent", because: opaque, "[123e-10000000]"),
    accepted("number, larger than a double", because: opaque, "[123123e100000]"),
    accepted("number, less than a negative double", because: opaque, "[-123123e100000]"),
    accepted("number, integer over 64 bits", because: opaque, "[100000000000000000000]"),
    accepted("number, negative integer over 64 bits", because: opaque, "[-123123123123123123123123123123]"),
    accepted("number, ten thousand digits", because: opaque, "[", .many("9", 10_000), "]"),
    accepted("number, ten thousand digits of a fraction", because: opaque, "[0.", .many("3", 10_000), "]"),
  ]

  private static let asWritten =
    "JavaScript writes lone surrogates so, and an opaque payload passes as it came; JSONString.decode refuses it"

  static let surrogates = [
    accepted("lone second surrogate in a name", because: asWritten, "{\"\\uDFAA\":0}"),
    accepted("first surrogate, second missing", because: asWritten, "[\"\\uDADA\"]"),
    accepted("first surrogate, second not one", because: asWritten, "[\"\\uD888\\u1234\"]"),
    accepted("first surrogate, then an escape", because: asWritten, "[\"\\uD800\\n\"]"),
    accepted("first surrogate, then letters", because: asWritten, "[\"\\uDd1ea\"]"),
    accepted("first surrogate, then a letter", because: asWritten, "[\"\\ud800abc\"]"),
    accepted("first surrogate twice, then a second", because: asWritten, "[\"\\uD800\\uD800\\uDC00\"]"),
    accepted("surrogates in the wrong order", because: asWritten, "[\"\\uDd1e\\uD834\"]"),
    accepted("lone second surrogate", because: asWritten, "[\"\\uDFAA\"]"),
  ]

  private static let utf8Only = "the wire is UTF-8, and what is stored must come back as text that all can read"
  private static let noMark = "RFC 8259 forbids to send a byte order mark, and stored ones would come back in mid-line"

  static let encodings = [
    rejected("byte order mark before an object", .value, at: 0, because: noMark, "\u{FEFF}{}"),
    rejected("byte order mark behind white space", .value, at: 1, because: noMark, " \u{FEFF}{}"),
    rejected("UTF-16, little-endian, with its mark", .value, at: 0, because: utf8Only, 0xFF, 0xFE, "[", 0, "]", 0),
    rejected("UTF-16, big-endian, with its mark", .value, at: 0, because: utf8Only, 0xFE, 0xFF, 0, "[", 0, "]"),
    rejected("UTF-16, little-endian", .value, at: 1, because: utf8Only, "[", 0, "\"", 0, 0xE9, 0, "\"", 0, "]", 0),
    rejected("UTF-16, big-endian", .value, at: 0, because: utf8Only, 0, "[", 0, "\"", 0, 0xE9, 0, "\"", 0, "]"),
    rejected("UTF-32, little-endian", .value, at: 1, because: utf8Only, "[", 0, 0, 0, "]", 0, 0, 0),
    rejected("UTF-32, big-endian", .value, at: 0, because: utf8Only, 0, 0, 0, "[", 0, 0, 0, "]"),
    rejected("Latin-1", .utf8, at: 2, because: utf8Only, "[\"", 0xE9, "\"]"),
    rejected("no UTF-8 in a string", .utf8, at: 2, because: utf8Only, "[\"", 0xFF, "\"]"),
    rejected("no UTF-8 behind a character", .utf8, at: 7, because: utf8Only, "[\"\u{65E5}", 0xD1, 0x88, 0xFA, "\"]"),
    rejected("surrogate in UTF-8", .utf8, at: 2, because: utf8Only, "[\"", 0xED, 0xA0, 0x80, "\"]"),
    rejected("continuation byte alone", .utf8, at: 2, because: utf8Only, "[\"", 0x81, "\"]"),
    rejected("beyond U+10FFFF", .utf8, at: 2, because: utf8Only, "[\"", 0xF4, 0xBF, 0xBF, 0xBF, "\"]"),
    rejected("overlong, two bytes", .utf8, at: 2, because: utf8Only, "[\"", 0xC0, 0xAF, "\"]"),
    rejected("overlong, six bytes", .utf8, at: 2, because: utf8Only, "[\"", 0xFC, 0x83, 0xBF, 0xBF, 0xBF, 0xBF, "\"]"),
    rejected("NUL, six bytes", .utf8, at: 2, because: utf8Only, "[\"", 0xFC, 0x80, 0x80, 0x80, 0x80, 0x80, "\"]"),
    rejected("character cut short", .utf8, at: 2, because: utf8Only, "[\"", 0xE0, 0xFF, "\"]"),
  ]

  private static let limit = "128 levels are more than any payload needs and fit one machine word of nesting bits"

  static let structure = [
    accepted("128 nested arrays", because: limit, .many("[", 128), .many("]", 128)),
    rejected("129 nested arrays", .depth, at: 128, because: limit, .many("[", 129), .many("]", 129)),
    accepted("128 nested objects", because: limit, .many("{\"a\":", 128), "1", .many("}", 128)),
    rejected("129 nested objects", .depth, at: 640, because: limit, .many("{\"a\":", 129), "1", .many("}", 129)),
    rejected("500 nested arrays", .depth, at: 128, because: limit, .many("[", 500), .many("]", 500)),
    accepted(
      "names given twice", because: "an opaque payload passes as it came; requests refuse it themselves",
      "{\"a\":1,\"a\":2}"),
  ]
}
