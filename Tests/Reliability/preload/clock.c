// A clock that a test holds: in front of libc by LD_PRELOAD. The wall clock is the 64-bit number of milliseconds in the
// file that TEST_CLOCK names, whenever it is asked for; all other clocks are the real ones, unless TEST_CLOCK_IS_ALL is
// set: who compares clocks must not see one of them stand still while another goes on.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static const volatile int64_t *milliseconds(void) {
  static const volatile int64_t *mapped;
  if (mapped) return mapped;
  const char *path = getenv("TEST_CLOCK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  void *memory = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *mapped, PROT_READ, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) abort();
  return mapped = memory;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  static int (*next)(clockid_t, struct timespec *);
  if (!next) next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  static int is_all = -1;
  if (is_all < 0) is_all = getenv("TEST_CLOCK_IS_ALL") != NULL;
  int is_held = clock == CLOCK_REALTIME || (is_all && (clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME));
  if (!is_held) return next(clock, time);
  int64_t now = *milliseconds();
  time->tv_sec = now / 1000;
  time->tv_nsec = now % 1000 * 1000000;
  return 0;
}

// PostgreSQL asks this one.
int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  int64_t now = *milliseconds();
  time->tv_sec = now / 1000;
  time->tv_usec = now % 1000 * 1000;
  return 0;
}
