// replay DATABASE CALLS AFTER LIMIT
//
// What SQLite itself needs to give LIMIT events of one session after the id AFTER: steps the rows and copies their
// columns to a buffer, the sessions of the file taken in turn. A row of several events is copied whole.

#include <string.h>

#include "database.h"
#include "samples.h"

enum { buffer_size = 64 << 20 };

int main(int argc, char **argv) {
  if (argc != 5) fail(NULL, "usage: replay DATABASE CALLS AFTER LIMIT");
  sqlite3 *database = open_database(argv[1]);
  size_t calls = strtoul(argv[2], NULL, 10), warm_up = calls / 10 + 1;
  sqlite3_int64 after = atoll(argv[3]), limit = atoll(argv[4]);
  sqlite3_stmt *sessions = prepare(database, "SELECT number FROM sessions ORDER BY number");
  sqlite3_stmt *select = prepare(database,
                                 "SELECT id, stream_id, event_type, timestamp, retry, data, coalesce(first_id, id)"
                                 " FROM events WHERE session = ?1 AND id > ?2 ORDER BY id LIMIT ?3");
  char *buffer = malloc(buffer_size);
  Samples samples = samples_for(calls);

  for (size_t call = 0; call < warm_up + calls; call++) {
    if (sqlite3_step(sessions) != SQLITE_ROW) {
      sqlite3_reset(sessions);
      if (sqlite3_step(sessions) != SQLITE_ROW) fail(database, "the file has no sessions");
    }
    sqlite3_int64 last = after;
    size_t filled = 0;
    double start = now();
    sqlite3_bind_int64(select, 1, sqlite3_column_int64(sessions, 0));
    sqlite3_bind_int64(select, 2, after);
    sqlite3_bind_int64(select, 3, limit);
    while (last < after + limit && sqlite3_step(select) == SQLITE_ROW) {
      last = sqlite3_column_int64(select, 0);
      for (int column = 0; column < 7; column++) {
        if (sqlite3_column_type(select, column) == SQLITE_INTEGER) {
          sqlite3_int64 value = sqlite3_column_int64(select, column);
          memcpy(buffer + filled, &value, sizeof value);
          filled += sizeof value;
        } else {
          const unsigned char *text = sqlite3_column_text(select, column);
          size_t length = (size_t)sqlite3_column_bytes(select, column);
          if (filled + length + 64 > buffer_size) fail(NULL, "the buffer is too small");
          if (length > 0) memcpy(buffer + filled, text, length);
          filled += length;
        }
      }
    }
    sqlite3_reset(select);
    if (last < after + limit) fail(NULL, "a session has too few events");
    if (call >= warm_up) add_sample(&samples, now() - start);
  }

  printf("{");
  print_samples("call", &samples);
  printf("}\n");
  close_database(database);
}
