// rows DATABASE EVENTS GROUP DATA
//
// What SQLite itself needs to store EVENTS events, one after the other in each session of the file, with one durable
// commit for every GROUP of them, and at least every 10 ms, as the product has it; session rows and the store's counter
// are written once per group. No pipe, no JSON, no checks.

#include <string.h>

#include "database.h"
#include "samples.h"

static const double group_seconds = 0.010;

typedef struct {
  sqlite3_int64 number, last_event_id, touched_in_group;
} Session;

static int pages_in_wal;

static int note_pages(void *context, sqlite3 *database, const char *schema, int pages) {
  (void)context, (void)database, (void)schema;
  pages_in_wal = pages;
  return SQLITE_OK;
}

static sqlite3_int64 unix_milliseconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  return (sqlite3_int64)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static size_t read_sessions(sqlite3 *database, Session **sessions) {
  sqlite3_stmt *select = prepare(database, "SELECT number, last_event_id FROM sessions ORDER BY number");
  size_t count = 0, capacity = 16;
  *sessions = malloc(capacity * sizeof(Session));
  while (sqlite3_step(select) == SQLITE_ROW) {
    if (count == capacity) *sessions = realloc(*sessions, (capacity *= 2) * sizeof(Session));
    (*sessions)[count++] = (Session){sqlite3_column_int64(select, 0), sqlite3_column_int64(select, 1), 0};
  }
  sqlite3_finalize(select);
  if (count == 0) fail(NULL, "the file has no sessions");
  return count;
}

int main(int argc, char **argv) {
  if (argc != 5) fail(NULL, "usage: rows DATABASE EVENTS GROUP DATA");
  sqlite3 *database = open_database(argv[1]);
  sqlite3_int64 events = atoll(argv[2]), group = atoll(argv[3]), group_number = 0;
  const char *data = argv[4];
  int data_bytes = (int)strlen(data);

  sqlite3_wal_hook(database, note_pages, NULL);
  sqlite3_stmt *begin = prepare(database, "BEGIN IMMEDIATE"), *commit = prepare(database, "COMMIT");
  sqlite3_stmt *insert = prepare(
      database,
      "INSERT INTO events (session, id, stream_id, event_type, timestamp, retry, data)"
      " VALUES (?1, ?2, NULL, NULL, ?3, NULL, ?4)");
  sqlite3_stmt *update = prepare(
      database, "UPDATE sessions SET last_activity = ?2, last_event_id = ?3 WHERE number = ?1");
  sqlite3_stmt *count = prepare(database, "UPDATE store SET events = events + ?1");

  Session *sessions;
  size_t session_count = read_sessions(database, &sessions), next = 0;
  // A slow machine may need a commit for every single event.
  Samples commits = samples_for((size_t)events);

  double start = now();
  for (sqlite3_int64 stored = 0; stored < events;) {
    double group_start = now();
    // Before the group rather than after it: a client that waits for each answer meets the checkpoint there too.
    if (pages_in_wal >= checkpoint_pages) {
      int code = sqlite3_wal_checkpoint_v2(database, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
      if (code != SQLITE_OK) fail(database, "checkpoint");
      pages_in_wal = 0;
    }
    sqlite3_int64 time = unix_milliseconds();
    group_number++;
    sqlite3_int64 row = 0;
    run(database, begin);
    for (; row < group && stored < events && now() - group_start < group_seconds; row++, stored++) {
      Session *session = &sessions[next];
      next = (next + 1) % session_count;
      session->touched_in_group = group_number;
      sqlite3_bind_int64(insert, 1, session->number);
      sqlite3_bind_int64(insert, 2, ++session->last_event_id);
      sqlite3_bind_int64(insert, 3, time);
      sqlite3_bind_text(insert, 4, data, data_bytes, SQLITE_STATIC);
      run(database, insert);
    }
    for (size_t index = 0; index < session_count; index++) {
      if (sessions[index].touched_in_group != group_number) continue;
      sqlite3_bind_int64(update, 1, sessions[index].number);
      sqlite3_bind_int64(update, 2, time);
      sqlite3_bind_int64(update, 3, sessions[index].last_event_id);
      run(database, update);
    }
    sqlite3_bind_int64(count, 1, row);
    run(database, count);
    run(database, commit);
    add_sample(&commits, now() - group_start);
  }
  double seconds = now() - start;

  long resident = memory_kib("self", "VmRSS"), peak = memory_kib("self", "VmHWM");
  double closing = now();
  close_database(database);

  printf("{\"seconds\":%.6f,\"rss_kib\":%ld,\"hwm_kib\":%ld,\"close_ms\":%.3f,", seconds, resident, peak,
         (now() - closing) * 1e3);
  print_samples("commit", &commits);
  printf("}\n");
}
