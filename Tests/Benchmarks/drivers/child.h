// Whom a driver talks to: a child process with its stdin and stdout on pipes, as a server holds its sidecar (stderr is
// shared), or a server that listens on a unix socket.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

typedef struct {
  pid_t pid;   // 0 for a server that was there before
  int input;   // we write, the child reads
  int output;  // the child writes, we read
} Child;

static const char socket_prefix[] = "unix:";

/// Whether a command is `unix:PATH`, the socket of a server that speaks RESP, and no program.
static inline bool is_socket(char **command) {
  return strncmp(command[0], socket_prefix, sizeof socket_prefix - 1) == 0;
}

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

static inline Child connect_to(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) errno = 0, fail("the path of the socket is too long");
  strcpy(address.sun_path, path);
  int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0 || connect(descriptor, (struct sockaddr *)&address, sizeof address)) fail(path);
  signal(SIGPIPE, SIG_IGN);
  return (Child){.input = descriptor, .output = descriptor};
}

static inline Child open_child(char **command) {
  return is_socket(command) ? connect_to(command[0] + sizeof socket_prefix - 1) : spawn_child(command);
}

/// Ends the input and waits for the exit; a child that did not end with 0 makes every figure worthless.
static inline void end_child(Child *child) {
  int status;
  close(child->input);
  if (child->pid == 0) return;
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
