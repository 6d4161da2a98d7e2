import Testing

@testable import Postgres

@Suite struct AddressTests {
  @Test(arguments: [
    "postgresql://host/db", "postgres://", "postgresql://", "host=a", "  host = a port=1", "service=mine",
    "dbname='a b'", "user=u password=p host=h", "port=1",
  ])
  func anAddressIsTold(text: String) { #expect(PostgresAddress.isAddress(text)) }

  @Test(arguments: [
    "store.db", ":memory:", "/var/lib/a=b/store.db", "./host=a", "a=b.db", "host", "file:host=a", "postgresql:/x",
    "mysql://host/db", "", " ", "=", "hosts=a",
  ])
  func aFileIsNone(text: String) { #expect(!PostgresAddress.isAddress(text)) }

  @Test(arguments: [
    ("postgresql://u:Geheim@h/d", "postgresql://u@h/d"),
    ("postgresql://u:Ge@heim@h/d", "postgresql://u@h/d"),
    ("postgresql://u:Ge/heim@h:5/d?sslmode=require", "postgresql://u@h:5/d?sslmode=require"),
    ("postgres://h1:1,h2:2/d?sslmode=allow&password=Geheim", "postgres://h1:1,h2:2/d?sslmode=allow"),
    ("postgresql://Geheim@h/d?sslpassword=Geheim&user=u", "postgresql://Geheim@h/d?user=u"),
    ("postgresql:///d?host=/tmp&passfile=Geheim", "postgresql:///d?host=/tmp"),
    ("host=h user=u password=Geheim dbname=d", "host=h user=u dbname=d"),
    ("host=h password='Ge heim' user=u", "host=h user=u"),
    ("host=h password='Ge\\' host=heim' user=u", "host=h user=u"),
    ("host=h password=Ge heim user=u", "host=h"),
    ("password = Geheim host = h", "host=h"),
  ])
  func whatIsShownHasNoPassword(text: String, shown: String) { #expect(PostgresAddress(text).redacted == shown) }

  @Test(arguments: [
    ("postgresql://u:pa/ss@h/d", #"invalid port number: "pa""#, #"invalid port number: "…""#),
    ("postgresql://u:pa@ss@h/d", #"could not translate host name "ss@h" to address"#,
      #"could not translate host name "…" to address"#),
    ("postgresql://u:12/ss@h/d", #"connection to server at "u", port 12 failed"#,
      #"connection to server at "u", port … failed"#),
    ("postgresql://u:a%zzb@h/d", #"invalid percent-encoded token: "a%zzb""#, #"invalid percent-encoded token: "…""#),
    ("postgresql://u:a%2Fb@h/d", #"something about "a/b""#, #"something about "…""#),
    ("host=h password=Ge heim user=u", #"missing "=" after "heim" in connection info string"#,
      #"missing "=" after "…" in connection info string"#),
    // What is not of the password stays.
    ("postgresql://u:Geheim@h/d", #"connection to server at "h", port 5432 failed: FATAL: no user "u""#,
      #"connection to server at "h", port 5432 failed: FATAL: no user "u""#),
    ("host=h user=u", #"database "d" does not exist"#, #"database "d" does not exist"#),
  ])
  func messagesAreWithoutIt(text: String, message: String, scrubbed: String) {
    #expect(PostgresAddress(text).scrubbed(message) == scrubbed)
  }

  /// Whatever libpq makes of an address that is written wrongly.
  @Test(arguments: [
    "postgresql://u:Geheim/x@h/d", "postgresql://u:x/Geheim@h/d", "postgresql://u:Ge@Geheim@nowhere.invalid/d",
    "postgresql://u:%zzGeheim@h/d", "postgresql://u:Geheim?x@h/d", "postgresql://u:Geheim#@h/d",
    "postgresql://u:x?Geheim@h", "postgresql://u:x?Geheim=1@h", "postgresql://u:a[Geheim@h", "postgresql://[u:Geheim@h",
    "host=/nowhere password=a Geheim", "host=/nowhere password='a Geheim", "host=/nowhere password=a Geheim=b",
    "host=/nowhere password=Geheim sslmode=x", "host=/nowhere user=u sslpassword=Geheim port=a",
    "postgresql://u@/d?host=/nowhere&password=Geheim&x=1", "postgresql://u:Geheim@/d?host=/nowhere",
  ])
  func noErrorHoldsAPassword(text: String) throws {
    var options = PostgresOptions(address: text)
    options.waiting = 0
    let error = #expect(throws: PostgresError.self) { try PostgresConnection(options) }
    let said = try #require(error)
    #expect(!said.message.contains("Geheim") && !said.sentence.contains("Geheim"), "\(said)")
    #expect([.unreachable, .badAddress].contains(said.kind), "\(said)")
    #expect(!PostgresAddress(text).redacted.contains("Geheim"))
  }
}
