import Testing

@testable import SessionStore

@Suite struct InputScreenTests {
  private static let harmless = [
    "", " ", "function", "json", "A function of JSON", "on", "once", "only = 3", "one=1", "on_time = true",
    "onward == forward", "configuration = production", "a < b and c > d", "x<y, y>z, on=1", "if (a<b) { on = c }",
    "JavaScript: a history", "I love javascript: it is fun", "JavaScript", "javascript", "javascript:",
    "learn VBScript: now",
    "data: 5", "data:", "data:5", "metadata:text", "the data:text was read", "data:image/png;base64,iVBORw0KGgo=",
    "https://example.com/?on=1&data=5#javascript", "mailto:someone@example.com", "tel:+1-555-0100",
    "SELECT * FROM users WHERE on_call = 1", "for i in 0..<10 { print(i) }", "std::vector<int> v; v.at(0) = 1;",
    "template <typename T> void f(T online = T());", "#include <stdio.h>", "List<String> names = new ArrayList<>();",
    "let scripted = true", "the script", "<scripture>", "<description>words</description>", "< script",
    "&lt;script&gt;",
    "1 < 2", "a <= b", "<3", "->", "<-", "<!-- a comment -->", "<b>bold</b>", "<a href=\"https://example.com\">x</a>",
    "<img src=\"a.png\" alt=\"on = off\"", "<p class=\"lesson\">", "<option value=1>", "<p button=1>",
    "<p data-on=1>",
    "p { color: red; content: 'on' }", "E = mc^2; 3 < π; ∀x ∈ ℝ", "Grüße aus Köln", "こんにちは世界", "Привет, мир",
    "مرحبا بالعالم",
    "👩‍👩‍👧‍👦 🎉", "line one\nline two\r\n\tindented", "C:\\Users\\javascript\\notes", "ratio 3:4",
    "12:30 onset = early",
    "{\"method\":\"tools/call\",\"params\":{\"onProgress\":null}}", "onclick", "onclick = handler",
    "the onload=x attribute",
    "livescript:x", "metajavascript:x", "--on=1", "e = on ? 1 : 0",
  ]

  private static let attacks = [
    "<script>", "<SCRIPT>alert(1)</SCRIPT>", "<script src=//example.com/x.js>", "<script/x>", "<script\n>", "<script",
    "</script>", "text before <ScRiPt > after", "<script\t>", "<img src=x onerror=alert(1)>",
    "<IMG SRC=x ONERROR=alert(1)>",
    "<img src=x onerror = alert(1)>", "<img src=x onerror\n=\nalert(1)>", "<svg/onload=alert(1)>",
    "<svg onload=alert(1)",
    "<body\tonload=x>", "<a href='x'onclick=y>", "<a href=\"x\"onclick=y>", "<input autofocus onfocus=x>",
    "<details open ontoggle=x>",
    "<video><source onerror=x>", "<div\nonmouseover=x", "<marquee onstart=x>", "a<b onclick=x",
    "javascript:alert(1)", "JavaScript:alert(1)",
    "java\nscript:alert(1)", "java\tscript:alert(1)", "<a href=\"javascript:x()\">", "<a href=javascript:x()>",
    "[x](javascript:x)",
    "url('javascript:x')", " javascript:x", "vbscript:msgbox(1)", "VBScript:x", "data:text/html,<b>",
    "data:text/html;base64,PGI+",
    "DATA:TEXT/HTML,x", "data:image/svg+xml,<svg>", "data:application/xhtml+xml,x", "data:text/javascript,x",
    "<iframe src=\"data:text/html,x\">",
    "<a href=\"java\r\nscript:x\">",
  ]

  @Test(arguments: harmless) func harmlessTextsPass(text: String) {
    #expect(InputScreen.check(text, maxBytes: 10_000) == nil)
  }

  @Test(arguments: attacks) func scriptsDoNot(text: String) {
    #expect(InputScreen.check(text, maxBytes: 10_000) == .script)
    #expect(InputScreen.check("words before, " + text, maxBytes: 10_000) == .script)
  }

  @Test func controlCharactersDoNotButForWhiteSpace() {
    for code in (0..<0x20).map(UInt8.init) + [0x7F] {
      let text = "a" + String(UnicodeScalar(code)) + "b"
      let isWhiteSpace = [0x09, 0x0A, 0x0D].contains(code)
      #expect(InputScreen.check(text, maxBytes: 10) == (isWhiteSpace ? nil : .controlCharacter))
    }
  }

  @Test func theSizeIsCountedInBytesOfUTF8() {
    #expect(InputScreen.check("ééé", maxBytes: 6) == nil)
    #expect(InputScreen.check("ééé", maxBytes: 5) == .tooLarge)
    #expect(InputScreen.check("", maxBytes: 0) == nil)
    #expect(InputScreen.check("a", maxBytes: 0) == .tooLarge)
    // The size is looked at first.
    #expect(InputScreen.check("<script>", maxBytes: 7) == .tooLarge)
  }

  @Test func aLongTextIsReadOnce() {
    // Whatever it holds, the work grows with the length only: each of these would take minutes otherwise.
    for piece in ["<", "<a ", "on", "on=", "<a on", ":", "javascript", "\n:"] {
      let text = "x" + String(repeating: piece, count: (1 << 17) / piece.utf8.count)
      _ = InputScreen.check(text, maxBytes: .max)
    }
  }
}
