#include "test_disk.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

// One thread uses it.
static test_disk_judge judge;
static sqlite3_vfs *system_vfs;
static ssize_t (*system_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*system_pread)(int, void *, size_t, off_t);
static int (*system_open_directory)(const char *, int *);

struct file {
  sqlite3_file base;
  // null for a file without a name, which no crash leaves
  const char *path;
  sqlite3_file *below;
};

static struct test_disk_event event_of(sqlite3_file *file, enum test_disk_call call) {
  const char *path = ((struct file *)file)->path;
  return (struct test_disk_event){.call = call, .path = path ? path : ""};
}

static int ask(struct test_disk_event *event) {
  event->moved = event->count;
  return event->path[0] ? judge(event) : SQLITE_OK;
}

#define BELOW(file) (((struct file *)(file))->below)
#define CALL(file, method, ...) BELOW(file)->pMethods->method(BELOW(file), ##__VA_ARGS__)
#define RETURN_IF_JUDGED(event)                \
  do {                                         \
    int code = ask(&(event));                  \
    if (code != SQLITE_OK) return code;        \
    if ((event).is_lie) return SQLITE_OK;      \
  } while (0)

static int file_close(sqlite3_file *file) { return CALL(file, xClose); }

static int file_read(sqlite3_file *file, void *bytes, int count, sqlite3_int64 offset) {
  struct test_disk_event event = event_of(file, TEST_DISK_READ);
  event.count = count;
  event.offset = offset;
  RETURN_IF_JUDGED(event);
  return CALL(file, xRead, bytes, count, offset);
}

static int file_write(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset) {
  struct test_disk_event event = event_of(file, TEST_DISK_WRITE);
  event.bytes = bytes;
  event.count = count;
  event.offset = offset;
  int code = ask(&event);
  if (code != SQLITE_OK) {
    if (event.moved > 0 && event.moved < count) CALL(file, xWrite, bytes, event.moved, offset);
    return code;
  }
  return event.is_lie ? SQLITE_OK : CALL(file, xWrite, bytes, count, offset);
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size) {
  struct test_disk_event event = event_of(file, TEST_DISK_TRUNCATE);
  event.offset = size;
  RETURN_IF_JUDGED(event);
  return CALL(file, xTruncate, size);
}

static int file_sync(sqlite3_file *file, int flags) {
  struct test_disk_event event = event_of(file, TEST_DISK_SYNC);
  RETURN_IF_JUDGED(event);
  return CALL(file, xSync, flags);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size) {
  struct test_disk_event event = event_of(file, TEST_DISK_SIZE);
  RETURN_IF_JUDGED(event);
  return CALL(file, xFileSize, size);
}

static int file_lock(sqlite3_file *file, int level) {
  struct test_disk_event event = event_of(file, TEST_DISK_LOCK);
  event.flags = level;
  RETURN_IF_JUDGED(event);
  return CALL(file, xLock, level);
}

static int file_unlock(sqlite3_file *file, int level) {
  struct test_disk_event event = event_of(file, TEST_DISK_UNLOCK);
  event.flags = level;
  int code = ask(&event);
  // A lock that stayed would outlive the connection, as it never outlives a process.
  int done = CALL(file, xUnlock, level);
  return code != SQLITE_OK ? code : done;
}

static int file_check_lock(sqlite3_file *file, int *is_locked) { return CALL(file, xCheckReservedLock, is_locked); }
static int file_control(sqlite3_file *file, int what, void *value) { return CALL(file, xFileControl, what, value); }
static int file_sector_size(sqlite3_file *file) { return CALL(file, xSectorSize); }
static int file_characteristics(sqlite3_file *file) { return CALL(file, xDeviceCharacteristics); }

static int file_map_memory(sqlite3_file *file, int region, int size, int extend, void volatile **memory) {
  struct test_disk_event event = event_of(file, TEST_DISK_MAP_MEMORY);
  RETURN_IF_JUDGED(event);
  return CALL(file, xShmMap, region, size, extend, memory);
}

static int file_lock_memory(sqlite3_file *file, int start, int count, int flags) {
  if (flags & SQLITE_SHM_LOCK) {
    struct test_disk_event event = event_of(file, TEST_DISK_LOCK_MEMORY);
    event.offset = start;
    event.flags = flags;
    RETURN_IF_JUDGED(event);
  }
  return CALL(file, xShmLock, start, count, flags);
}

static void file_memory_barrier(sqlite3_file *file) { CALL(file, xShmBarrier); }
static int file_unmap_memory(sqlite3_file *file, int remove) { return CALL(file, xShmUnmap, remove); }

static const sqlite3_io_methods methods = {
    .iVersion = 2,  // 3 would bring mapped files, which the product does not use
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_lock,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = file_map_memory,
    .xShmLock = file_lock_memory,
    .xShmBarrier = file_memory_barrier,
    .xShmUnmap = file_unmap_memory,
};

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *opened, int flags, int *out_flags) {
  (void)vfs;
  struct file *file = (struct file *)opened;
  file->base.pMethods = 0;
  file->path = path;
  file->below = (sqlite3_file *)(file + 1);
  struct test_disk_event event = event_of(opened, TEST_DISK_OPEN);
  event.flags = flags;
  int code = ask(&event);
  if (code == SQLITE_OK) code = system_vfs->xOpen(system_vfs, path, file->below, flags, out_flags);
  if (code == SQLITE_OK) file->base.pMethods = &methods;
  return code;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int sync_directory) {
  (void)vfs;
  struct test_disk_event event = {.call = TEST_DISK_DELETE, .path = path};
  RETURN_IF_JUDGED(event);
  return system_vfs->xDelete(system_vfs, path, sync_directory);
}

static int vfs_access(sqlite3_vfs *vfs, const char *path, int flags, int *result) {
  (void)vfs;
  struct test_disk_event event = {.call = TEST_DISK_ACCESS, .path = path};
  RETURN_IF_JUDGED(event);
  return system_vfs->xAccess(system_vfs, path, flags, result);
}

// --- Below the system's own: the calls that it hands out (https://www.sqlite.org/c3ref/vfs.html, xSetSystemCall)

static ssize_t short_pwrite(int descriptor, const void *bytes, size_t count, off_t offset) {
  struct test_disk_event event = {.call = TEST_DISK_PWRITE, .path = "a write", .count = (int)count};
  ask(&event);
  if (event.moved < 0) return errno = EINTR, -1;
  return system_pwrite(descriptor, bytes, (size_t)event.moved, offset);
}

static ssize_t short_pread(int descriptor, void *bytes, size_t count, off_t offset) {
  struct test_disk_event event = {.call = TEST_DISK_PREAD, .path = "a read", .count = (int)count};
  ask(&event);
  if (event.moved < 0) return errno = EINTR, -1;
  return system_pread(descriptor, bytes, (size_t)event.moved, offset);
}

// SQLite opens a directory only to sync it.
static int open_directory(const char *path, int *descriptor) {
  struct test_disk_event event = {.call = TEST_DISK_SYNC_DIRECTORY, .path = path};
  if (ask(&event) != SQLITE_OK) {
    // A pipe cannot be synced.
    int ends[2];
    if (pipe(ends) != 0) return SQLITE_CANTOPEN;
    close(ends[1]);
    *descriptor = ends[0];
    return SQLITE_OK;
  }
  return system_open_directory(path, descriptor);
}

static int replace(const char *name, const char *other_name, sqlite3_syscall_ptr by, sqlite3_syscall_ptr *old) {
  sqlite3_syscall_ptr found = system_vfs->xGetSystemCall(system_vfs, name);
  const char *used = found ? name : other_name;
  *old = system_vfs->xGetSystemCall(system_vfs, used);
  return *old ? system_vfs->xSetSystemCall(system_vfs, used, by) : SQLITE_NOTFOUND;
}

int test_disk_install(test_disk_judge new_judge) {
  static sqlite3_vfs vfs;
  judge = new_judge;
  if (system_vfs) return SQLITE_OK;
  system_vfs = sqlite3_vfs_find(0);
  if (!system_vfs || system_vfs->iVersion < 3) return SQLITE_ERROR;
  int code = replace("pwrite64", "pwrite", (sqlite3_syscall_ptr)short_pwrite, (sqlite3_syscall_ptr *)&system_pwrite);
  if (code == SQLITE_OK)
    code = replace("pread64", "pread", (sqlite3_syscall_ptr)short_pread, (sqlite3_syscall_ptr *)&system_pread);
  if (code == SQLITE_OK)
    code = replace(
        "openDirectory", "openDirectory", (sqlite3_syscall_ptr)open_directory,
        (sqlite3_syscall_ptr *)&system_open_directory);
  if (code != SQLITE_OK) return code;
  vfs = *system_vfs;
  vfs.zName = "test-disk";
  vfs.szOsFile = (int)sizeof(struct file) + system_vfs->szOsFile;
  vfs.xOpen = vfs_open;
  vfs.xDelete = vfs_delete;
  vfs.xAccess = vfs_access;
  return sqlite3_vfs_register(&vfs, 1);
}
