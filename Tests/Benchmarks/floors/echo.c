// echo LENGTH
//
// The pipe and nothing else: answers each line with a fixed line of LENGTH bytes, newline included.

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
  size_t length = argc > 1 ? strtoul(argv[1], NULL, 10) : 2;
  if (length == 0) return 64;
  char *answer = malloc(length);
  memset(answer, 'x', length);
  answer[length - 1] = '\n';

  static char input[64 * 1024];
  ssize_t got;
  while ((got = read(STDIN_FILENO, input, sizeof input)) > 0) {
    for (ssize_t byte = 0; byte < got; byte++) {
      if (input[byte] != '\n') continue;
      for (size_t sent = 0; sent < length;) {
        ssize_t written = write(STDOUT_FILENO, answer + sent, length - sent);
        if (written < 0) return 74;
        sent += (size_t)written;
      }
    }
  }
}
