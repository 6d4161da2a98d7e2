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

// Whether another file stands at the database's path, or none: SQLITE_FCNTL_HAS_MOVED of
// https://www.sqlite.org/c3ref/c_fcntl_begin_atomic_write.html
static inline int csqlite_has_moved(sqlite3 *connection) {
  int moved = 0;
  return sqlite3_file_control(connection, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved;
}

// How far checkpoints have come, as the shared memory of the write-ahead log has it: the salts of the log, the frames
// that are in the database, and those that somebody began to copy there. https://www.sqlite.org/walformat.html
typedef struct {
  unsigned salts[2], done, attempted;
} csqlite_checkpoint_marks;

// Only for a connection that uses shared memory and has read: then it is mapped already.
static inline csqlite_checkpoint_marks csqlite_read_checkpoint_marks(sqlite3 *connection) {
  csqlite_checkpoint_marks marks = {{0, 0}, 0, 0};
  sqlite3_file *file = 0;
  void volatile *memory = 0;
  sqlite3_file_control(connection, "main", SQLITE_FCNTL_FILE_POINTER, &file);
  if (file && file->pMethods && file->pMethods->iVersion >= 2 &&
      file->pMethods->xShmMap(file, 0, 32768, 0, &memory) == SQLITE_OK && memory) {
    unsigned volatile *words = (unsigned volatile *)memory;
    marks.salts[0] = words[8];
    marks.salts[1] = words[9];
    marks.done = words[24];
    marks.attempted = words[32];
  }
  return marks;
}

// Reads the database itself, past its log. Not by another descriptor: closing one gives up the locks of the process.
static inline int csqlite_read_database(sqlite3 *connection, void *bytes, int count, long long offset) {
  sqlite3_file *file = 0;
  sqlite3_file_control(connection, "main", SQLITE_FCNTL_FILE_POINTER, &file);
  return file && file->pMethods ? file->pMethods->xRead(file, bytes, count, offset) : SQLITE_MISUSE;
}

// Makes the write-ahead log as long as `size` with zeros at its end, which are no frames: those have page numbers, and
// none is 0 (https://www.sqlite.org/walformat.html). Only in a transaction that writes, for nobody else then does.
static inline int csqlite_lengthen_log(sqlite3 *connection, long long size) {
  static const char zeros[65536];
  sqlite3_file *file = 0;
  long long end = 0;
  sqlite3_file_control(connection, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file);
  int code = file && file->pMethods ? file->pMethods->xFileSize(file, &end) : SQLITE_MISUSE;
  while (code == SQLITE_OK && end < size) {
    int part = size - end < (long long)sizeof zeros ? (int)(size - end) : (int)sizeof zeros;
    code = file->pMethods->xWrite(file, zeros, part, end);
    end += part;
  }
  return code;
}

// The next close of the last connection leaves the log where it is.
static inline int csqlite_keep_log(sqlite3 *connection) {
  return csqlite_db_config(connection, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1);
}

#endif
