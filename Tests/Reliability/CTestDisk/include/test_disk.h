// A virtual file system of SQLite's that asks before it does anything to the disk, so that a test can write down what
// was done, and refuse. What is not refused goes to the system's own.
#ifndef TEST_DISK_H
#define TEST_DISK_H

#include <sqlite3.h>

enum test_disk_call {
  TEST_DISK_OPEN,
  TEST_DISK_READ,
  TEST_DISK_WRITE,
  TEST_DISK_TRUNCATE,
  TEST_DISK_SYNC,
  TEST_DISK_SYNC_DIRECTORY,
  TEST_DISK_DELETE,
  TEST_DISK_ACCESS,
  TEST_DISK_SIZE,
  TEST_DISK_LOCK,
  TEST_DISK_UNLOCK,
  TEST_DISK_MAP_MEMORY,
  TEST_DISK_LOCK_MEMORY,
  // One system call: a write or a read above may need several.
  TEST_DISK_PWRITE,
  TEST_DISK_PREAD,
};

struct test_disk_event {
  enum test_disk_call call;
  // as SQLite names it; empty for a system call
  const char *path;
  // of a read or write; the new size of a truncate
  sqlite3_int64 offset;
  // what is to be written; else null
  const unsigned char *bytes;
  int count;
  // what xOpen, xLock or xShmLock got
  int flags;
  // Set it to a smaller count than `count`: a write stops there before it fails; a system call moves so much and says
  // so.
  int moved;
  // Set it: the call does nothing and succeeds.
  int is_lie;
};

// Returns SQLITE_OK to go on, or the code that the call fails with.
typedef int (*test_disk_judge)(struct test_disk_event *event);

// Makes it the file system of every connection that is opened from now on.
int test_disk_install(test_disk_judge judge);

#endif
