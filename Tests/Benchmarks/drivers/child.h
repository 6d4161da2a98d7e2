// A child process with its stdin and stdout on pipes, as a server holds its sidecar; stderr is shared.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

typedef struct {
  pid_t pid;
  int input;   // we write, the child reads
  int output;  // the child writes, we read
} Child;

typedef struct {
  const char *bytes;
  size_t count;
} Text;

static inline _Noreturn void fail(const char *what) {
  fprintf(stderr, "benchmark driver: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
  exit(1);
}

static inline Child spawn_child(char **command) {
  int input[2], output[2];
  // Close-on-exec: a child that inherited the write end of its own stdin would never see the end of its input.
  if (pipe2(input, O_CLOEXEC) || pipe2(output, O_CLOEXEC)) fail("pipe2");
  signal(SIGPIPE, SIG_IGN);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);

  Child child = {.input = input[1], .output = output[0]};
  errno = posix_spawnp(&child.pid, command[0], &actions, NULL, command, environ);
  if (errno) fail(command[0]);
  posix_spawn_file_actions_destroy(&actions);
  close(input[0]);
  close(output[1]);
  return child;
}

/// Ends the input and waits for the exit; a child that did not end with 0 makes every figure worthless.
static inline void end_child(Child *child) {
  int status;
  close(child->input);
  while (waitpid(child->pid, &status, 0) < 0) {
    if (errno != EINTR) fail("waitpid");
  }
  close(child->output);
  errno = 0;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    fprintf(stderr, "benchmark driver: the child ended with wait status %d\n", status);
    exit(1);
  }
}

static inline void write_all(int descriptor, Text text) {
  while (text.count > 0) {
    ssize_t written = write(descriptor, text.bytes, text.count);
    if (written < 0 && errno != EINTR) fail("write to the child");
    if (written > 0) text.bytes += written, text.count -= (size_t)written;
  }
}

/// Reads one answer, which must be the only thing on its way; gives its bytes including the newline.
static inline size_t read_answer(int descriptor, char *buffer, size_t capacity) {
  size_t count = 0;
  do {
    if (count == capacity) errno = 0, fail("an answer is longer than the buffer");
    ssize_t got = read(descriptor, buffer + count, capacity - count);
    if (got == 0) errno = 0, fail("the child closed its output before it answered");
    if (got < 0 && errno != EINTR) fail("read from the child");
    if (got > 0) count += (size_t)got;
  } while (count == 0 || buffer[count - 1] != '\n');
  return count;
}

/// The workloads never hold this word, so it can only be the member of an answer that failed.
static inline void refuse_errors(Text answers) {
  const char *error = memmem(answers.bytes, answers.count, "\"error\"", 7);
  if (!error) return;
  const char *start = error, *end = error;
  while (start > answers.bytes && start[-1] != '\n') start--;
  while (end < answers.bytes + answers.count && *end != '\n') end++;
  fprintf(stderr, "benchmark driver: an answer is an error: %.*s\n", (int)(end - start), start);
  exit(1);
}

static inline Text map_file(const char *path) {
  struct stat facts;
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0 || fstat(descriptor, &facts) || facts.st_size == 0) fail(path);
  Text text = {NULL, (size_t)facts.st_size};
  // Populated now, so that no page fault of ours falls into the time that is measured.
  text.bytes = mmap(NULL, text.count, PROT_READ, MAP_PRIVATE | MAP_POPULATE, descriptor, 0);
  if (text.bytes == MAP_FAILED) fail(path);
  close(descriptor);
  if (text.bytes[text.count - 1] != '\n') errno = 0, fail("the file of requests must end with a newline");
  return text;
}

/// Cuts the first line, newline included, off `text`.
static inline Text take_line(Text *text) {
  const char *newline = memchr(text->bytes, '\n', text->count);
  Text line = {text->bytes, (size_t)(newline - text->bytes) + 1};
  text->bytes += line.count;
  text->count -= line.count;
  return line;
}

static inline size_t count_lines(Text text) {
  size_t lines = 0;
  while (text.count > 0) take_line(&text), lines++;
  return lines;
}
