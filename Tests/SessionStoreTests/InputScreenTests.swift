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

  /// What browsers run although it does not look like it.
  private static let hiddenAttacks = [
    "<img title=\">\" onerror=alert(1)>", "<a href=\"javascript: alert(1)\">x</a>",
    "<a href=\"javascript:\nalert(1)\">x</a>", "<a href=\" javascript:alert(1)\">", "<iframe srcdoc=\"<p>\">",
    "<iframe srcdoc='&lt;script&gt;alert(1)&lt;/script&gt;'>", "<a href=\"&#106;avascript:alert(1)\">",
    "<a href=\"&#x6A;&#x61;vascript:alert(1)\">", "<a href=\"javascript&colon;alert(1)\">",
    "<a href=\"java&Tab;script:alert(1)\">", "<a href=\"jav&#x09;ascript:alert(1)\">",
    "<a href=\"java&NewLine;script:x\">", "&#106;avascript:alert(1)", "javascript&#58;alert(1)",
    "<object data=\"x.swf\">", "<base href=\"//evil\">",
    "<meta http-equiv=\"refresh\" content=\"0;url=javascript:x\">",
    "<META HTTP-EQUIV=refresh CONTENT='0; url=https://evil'>",
    "<svg><a xlink:href=\"javascript:&#10;alert(1)\"><text>x", "<svg>",
    "<svg><animate attributeName=href values=javascript:alert(1)>", "<embed src=x>",
    "<button formaction=javascript:alert(1)>", "<a href='&#0000106avascript:alert(1)'>", "[x](javascript: alert(1))",
    "<div style=\"background:url( javascript:x )\">", "<math href=\"javascript:x\">", "<p title='a' onclick='x'>",
    "<img src=`x` onerror=x>", "<a href=\"vbscript:x\">", "<img src=\"x\" title='>' alt=\">\" onload=x",
    "<animate attributename=onmouseover to=x>", "<a href=\"DATA: text/html,x\">",
  ]

  private static let prose = [
    "List<Object> a = new ArrayList<Object>();", "vector<base> v", "<iframe src=\"https://example.com\">",
    "<meta charset=utf-8>", "&copy; 2026: all rights", "a &amp; b: c", "AT&T: a history",
    "<a href=\"https://example.com/?q=java\">", "<p>the union select committee met</p>", "It's; drop me a line",
    "O'Reilly's book or another", "'quoted' or 'not'", "select a seat from the list; update your profile",
    "don't -- wait", "SELECT * FROM users WHERE id = 1", "Robert'); she said",
    "the table's; create a table of contents", "rock 'n' roll -- and more", "He said \"no\" or \"maybe\"",
    "it's 5' -- or so", "x = 'a' and y = 'b'", "if name == 'x' or 1 < 2:", "print('a'); exec('b')",
    "if name == 'x' or 1 < 2:", "let s = \"a\"; let t = 'b'",
  ]

  private static let statements = [
    "' OR '1'='1", "' or 1=1 --", "\" or \"\"=\"", "admin' --", "admin'--", "admin'#", "admin'/*",
    "1; DROP TABLE users", "'; DROP TABLE users; --", "1 UNION SELECT username, password FROM users",
    "' UNION ALL SELECT NULL,NULL,NULL--", "'; exec xp_cmdshell('dir')", "'; WAITFOR DELAY '0:0:5'--",
    "1' AND SLEEP(5)#", "') OR ('a'='a", "x'; DELETE FROM t WHERE 1=1", "' UNION/**/SELECT/**/password FROM users",
    "1;update users set admin=1", "' or true--", "' or 'a' like 'a", "1' and 1=(select count(*) from tabs)--",
    "' INTO OUTFILE '/tmp/x", "' || '1'='1", "' and exists(select * from users) --", "; insert into t values (1)",
    "select * from information_schema.tables", "1 union select 1,2,3", "; select pg_sleep(5)",
  ]

  @Test(arguments: harmless + prose) func harmlessTextsPass(text: String) {
    #expect(InputScreen.check(text, maxBytes: 10_000, for: [.script, .sql]) == nil)
  }

  @Test(arguments: statements) func sqlIsFoundWhenItIsAskedFor(text: String) {
    #expect(InputScreen.check(text, maxBytes: 10_000, for: [.sql]) == .sql)
    #expect(InputScreen.check("words before, " + text, maxBytes: 10_000, for: [.sql]) == .sql)
    #expect(InputScreen.check(text, maxBytes: 10_000) != .sql)
  }

  @Test func scriptsAreFoundOnlyWhenTheyAreAskedFor() {
    #expect(InputScreen.check("<script>", maxBytes: 10_000, for: []) == nil)
    #expect(InputScreen.check("<script>' or 1=1 --", maxBytes: 10_000, for: [.script, .sql]) == .script)
    #expect(InputScreen.check("<script>' or 1=1 --", maxBytes: 10_000, for: [.sql]) == .sql)
  }

  @Test(arguments: attacks + hiddenAttacks) func scriptsDoNot(text: String) {
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
    let pieces = [
      "<", "<a ", "on", "on=", "<a on", ":", "javascript", "\n:", "'/*", "' or '", "<a x=\"", "da d", "&#1;", "&#x",
      "&", ";", "; select ", "'", "union select ", "<a href=\"j&#",
    ]
    for piece in pieces {
      let text = "x" + String(repeating: piece, count: (1 << 17) / piece.utf8.count)
      _ = InputScreen.check(text, maxBytes: .max, for: [.script, .sql])
    }
  }
}
