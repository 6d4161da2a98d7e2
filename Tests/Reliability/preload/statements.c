// Writes down every statement that SQLite begins, with the values that are bound to it, one a line: in front of SQLite
// by LD_PRELOAD, to the file that TEST_STATEMENTS names.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int note(unsigned kind, void *file, void *statement, void *text) {
  (void)kind;
  (void)text;
  char *expanded = sqlite3_expanded_sql(statement);
  if (!expanded) abort();
  size_t length = strlen(expanded);
  for (size_t at = 0; at < length; at++) {
    if (expanded[at] == '\n') expanded[at] = ' ';
  }
  expanded[length] = '\n';
  if (write((int)(intptr_t)file, expanded, length + 1) != (ssize_t)length + 1) abort();
  sqlite3_free(expanded);
  return 0;
}

int sqlite3_open_v2(const char *path, sqlite3 **database, int flags, const char *vfs) {
  int (*next)(const char *, sqlite3 **, int, const char *) =
      (int (*)(const char *, sqlite3 **, int, const char *))dlsym(RTLD_NEXT, "sqlite3_open_v2");
  int code = next(path, database, flags, vfs);
  const char *log = getenv("TEST_STATEMENTS");
  if (code != SQLITE_OK || !log) return code;
  int file = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0) abort();
  return sqlite3_trace_v2(*database, SQLITE_TRACE_STMT, note, (void *)(intptr_t)file);
}
