// The system's SQLite, and what Swift cannot call of it: variadic functions and pointer-valued constants.
#ifndef CSQLITE_SHIM_H
#define CSQLITE_SHIM_H

#include <sqlite3.h>

// https://www.sqlite.org/c3ref/config.html
static inline int csqlite_config_memory_statistics(int on) {
  return sqlite3_config(SQLITE_CONFIG_MEMSTATUS, on);
}

// https://www.sqlite.org/c3ref/db_config.html
static inline int csqlite_db_config(sqlite3 *connection, int option, int on) {
  return sqlite3_db_config(connection, option, on, (int *)0);
}

// SQLITE_TRANSIENT: SQLite makes its own copy before the call returns.
static inline int csqlite_bind_text(sqlite3_stmt *statement, int index, const char *bytes, int count) {
  return sqlite3_bind_text(statement, index, bytes, count, SQLITE_TRANSIENT);
}

// SQLITE_STATIC: the caller keeps the bytes until the statement is reset or bound anew.
static inline int csqlite_bind_borrowed_text(sqlite3_stmt *statement, int index, const char *bytes, int count) {
  return sqlite3_bind_text(statement, index, bytes, count, SQLITE_STATIC);
}

static int csqlite_remember_wal_pages(void *pages, sqlite3 *connection, const char *schema, int count) {
  (void)connection;
  (void)schema;
  *(int *)pages = count;
  return SQLITE_OK;
}

// After each commit `*pages` holds the number of frames in the write-ahead log.
// https://www.sqlite.org/c3ref/wal_hook.html
static inline void csqlite_watch_wal(sqlite3 *connection, int *pages) {
  sqlite3_wal_hook(connection, csqlite_remember_wal_pages, pages);
}

#endif
