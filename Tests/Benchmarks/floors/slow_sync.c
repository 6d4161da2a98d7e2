// A disk that takes a millisecond longer for each sync, in front of libc by LD_PRELOAD.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/prctl.h>
#include <time.h>

int fdatasync(int file) {
  static int (*next)(int);
  if (!next) {
    next = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    prctl(PR_SET_TIMERSLACK, 1000);
  }
  nanosleep(&(struct timespec){.tv_nsec = 1000000}, 0);
  return next(file);
}
