// The clock and the summary of what it measured, for drivers and floors alike.
#pragma once

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/// Monotonic seconds.
static inline double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

typedef struct {
  double *seconds;
  size_t count;
} Samples;

static inline Samples samples_for(size_t capacity) {
  return (Samples){calloc(capacity ? capacity : 1, sizeof(double)), 0};
}

static inline void add_sample(Samples *samples, double seconds) {
  samples->seconds[samples->count++] = seconds;
}

static inline int compare_seconds(const void *left, const void *right) {
  double difference = *(const double *)left - *(const double *)right;
  return difference < 0 ? -1 : difference > 0;
}

/// Nearest rank, so that every figure is one that was really seen. The samples must be sorted.
static inline double percentile(const Samples *samples, double percent) {
  if (samples->count == 0) return 0;
  size_t rank = (size_t)ceil(percent / 100 * (double)samples->count);
  return samples->seconds[rank > 0 ? rank - 1 : 0];
}

/// Members of a JSON object: `NAME_p50_us`, `NAME_p99_us` and `NAME_max_us`.
static inline void print_samples(const char *name, Samples *samples) {
  qsort(samples->seconds, samples->count, sizeof(double), compare_seconds);
  printf("\"%s_p50_us\":%.2f,\"%s_p99_us\":%.2f,\"%s_max_us\":%.2f", name, percentile(samples, 50) * 1e6, name,
         percentile(samples, 99) * 1e6, name, percentile(samples, 100) * 1e6);
}

/// The figure of one line of /proc/PID/status (PID a number or "self") in KiB, 0 when it is not there.
static inline long memory_kib(const char *pid, const char *line_name) {
  char path[64], line[256];
  long kib = 0;
  snprintf(path, sizeof path, "/proc/%s/status", pid);
  FILE *status = fopen(path, "r");
  if (!status) return 0;
  while (fgets(line, sizeof line, status)) {
    if (strncmp(line, line_name, strlen(line_name)) == 0) kib = strtol(line + strlen(line_name) + 1, NULL, 10);
  }
  fclose(status);
  return kib;
}
