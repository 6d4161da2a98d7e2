// A database that the product made, opened by plain C with the settings that the product runs with.
#pragma once

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

/// Where the product checkpoints too; SQLite's own automatic checkpoint is off.
enum { checkpoint_pages = 4000 };

static inline _Noreturn void fail(sqlite3 *database, const char *what) {
  fprintf(stderr, "benchmark floor: %s: %s\n", what, database ? sqlite3_errmsg(database) : "");
  exit(1);
}

static inline void execute(sqlite3 *database, const char *sql) {
  if (sqlite3_exec(database, sql, NULL, NULL, NULL) != SQLITE_OK) fail(database, sql);
}

static inline sqlite3 *open_database(const char *path) {
  sqlite3 *database;
  // One thread, so no mutexes: as the product has it.
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(path, &database, flags, NULL) != SQLITE_OK) fail(database, path);
  execute(database,
          "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;"
          "PRAGMA journal_size_limit = 67108864; PRAGMA cell_size_check = ON; PRAGMA secure_delete = FAST");
  return database;
}

static inline sqlite3_stmt *prepare(sqlite3 *database, const char *sql) {
  sqlite3_stmt *statement;
  if (sqlite3_prepare_v3(database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) != SQLITE_OK) {
    fail(database, sql);
  }
  return statement;
}

/// Runs a statement that gives no rows.
static inline void run(sqlite3 *database, sqlite3_stmt *statement) {
  if (sqlite3_step(statement) != SQLITE_DONE) fail(database, sqlite3_sql(statement));
  sqlite3_reset(statement);
}

/// Closes cleanly, so that the log is folded back into the file and no -wal stays behind for the next round.
static inline void close_database(sqlite3 *database) {
  for (sqlite3_stmt *statement; (statement = sqlite3_next_stmt(database, NULL));) sqlite3_finalize(statement);
  if (sqlite3_close(database) != SQLITE_OK) fail(database, "close");
}
