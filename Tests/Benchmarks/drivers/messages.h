// Requests and answers as bytes: lines of JSON, or values of RESP, the protocol of Redis.
#pragma once

#include <sys/mman.h>
#include <sys/stat.h>

#include "child.h"

typedef struct {
  const char *bytes;
  size_t count;
} Text;

/// Finds where messages end. RESP needs to know where it stopped, for an array of many values comes in many reads.
typedef struct {
  bool is_resp;
  size_t seen;    // bytes of the message that need not be looked at again
  size_t missing; // RESP values that the message still lacks
} Framing;

static inline _Noreturn void refuse(Text answer) {
  fprintf(stderr, "benchmark driver: an answer is an error: %.*s\n", (int)answer.count, answer.bytes);
  exit(1);
}

static inline size_t line_end(Framing *framing, Text text) {
  const char *newline = memchr(text.bytes + framing->seen, '\n', text.count - framing->seen);
  framing->seen = newline ? 0 : text.count;
  return newline ? (size_t)(newline - text.bytes) + 1 : 0;
}

/// The number in a header such as `$200`; -1 stands for null.
static inline long resp_number(const char *digits) {
  long number = 0;
  if (*digits == '-') return -1;
  for (; *digits >= '0' && *digits <= '9'; digits++) number = 10 * number + (*digits - '0');
  return number;
}

static inline size_t resp_end(Framing *framing, Text text) {
  if (framing->seen == 0) framing->missing = 1;
  while (framing->missing > 0) {
    const char *header = text.bytes + framing->seen;
    size_t left = text.count - framing->seen;
    const char *newline = memchr(header, '\n', left);
    if (!newline) return 0;
    size_t size = (size_t)(newline - header) + 1;
    long number = resp_number(header + 1);
    if (*header == '-') refuse((Text){header, size - 2});
    if (*header == '$' && number >= 0) size += (size_t)number + 2;
    if (size > left) return 0;
    if (*header == '*' && number > 0) framing->missing += (size_t)number;
    framing->missing--;
    framing->seen += size;
  }
  size_t end = framing->seen;
  framing->seen = 0;
  return end;
}

/// Bytes of the first message of `text`, 0 when its end has not come yet. A RESP error ends the driver.
static inline size_t message_end(Framing *framing, Text text) {
  if (text.count <= framing->seen) return 0;
  return framing->is_resp ? resp_end(framing, text) : line_end(framing, text);
}

/// Cuts the first message off `text`, in which whole messages lie.
static inline Text take_message(Framing *framing, Text *text) {
  Text message = {text->bytes, message_end(framing, *text)};
  if (message.count == 0) errno = 0, fail("the file of requests ends within a request");
  text->bytes += message.count;
  text->count -= message.count;
  return message;
}

static inline size_t count_messages(Framing *framing, Text text) {
  size_t messages = 0;
  while (text.count > 0) take_message(framing, &text), messages++;
  return messages;
}

static inline void write_all(int descriptor, Text text) {
  while (text.count > 0) {
    ssize_t written = write(descriptor, text.bytes, text.count);
    if (written < 0 && errno != EINTR) fail("write to the child");
    if (written > 0) text.bytes += written, text.count -= (size_t)written;
  }
}

/// Reads one answer, which must be the only thing on its way; gives its bytes.
static inline size_t read_answer(Framing *framing, int descriptor, char *buffer, size_t capacity) {
  size_t count = 0;
  for (;;) {
    if (count == capacity) errno = 0, fail("an answer is longer than the buffer");
    ssize_t got = read(descriptor, buffer + count, capacity - count);
    if (got == 0) errno = 0, fail("the child closed its output before it answered");
    if (got < 0 && errno != EINTR) fail("read from the child");
    if (got < 0) continue;
    count += (size_t)got;
    // As nothing follows it, a line is whole when it ends with a newline: not to be searched while the clock runs.
    if (framing->is_resp ? resp_end(framing, (Text){buffer, count}) == count : buffer[count - 1] == '\n') return count;
  }
}

/// Ends the driver when one of the lines is an error. The workloads never hold this text, so it can only be the member
/// of an answer that failed: that of an item of work is null. RESP errors are found as the answers are framed.
static inline void refuse_errors(Text answers) {
  const char *error = memmem(answers.bytes, answers.count, "\"error\":{", 9);
  if (!error) return;
  const char *start = error, *end = error;
  while (start > answers.bytes && start[-1] != '\n') start--;
  while (end < answers.bytes + answers.count && *end != '\n') end++;
  refuse((Text){start, (size_t)(end - start)});
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
