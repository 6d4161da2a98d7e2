// start DATABASE
//
// The least that a sidecar can do: opens the file, runs one SELECT, answers one line with one line, and closes the file
// at the end of its input. With --write the answer follows one durable commit, so that closing has a log to fold back.

#include <string.h>
#include <unistd.h>

#include "database.h"

int main(int argc, char **argv) {
  if (argc < 2) fail(NULL, "usage: start DATABASE [--write]");
  sqlite3 *database = open_database(argv[1]);
  sqlite3_stmt *select = prepare(database, "SELECT count(*) FROM sessions WHERE number = -1");
  if (sqlite3_step(select) != SQLITE_ROW) fail(database, "SELECT");
  sqlite3_reset(select);

  static char line[64 * 1024];
  static const char answer[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":null}\n";
  ssize_t got;
  while ((got = read(STDIN_FILENO, line, sizeof line)) > 0) {
    if (line[got - 1] != '\n') continue;
    if (argc > 2 && strcmp(argv[2], "--write") == 0) {
      execute(database, "UPDATE sessions SET last_activity = last_activity + 1 WHERE number = 1");
    }
    if (write(STDOUT_FILENO, answer, sizeof answer - 1) < 0) return 74;
  }
  close_database(database);
}
