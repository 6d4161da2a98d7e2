// pipeline REQUESTS REPEAT COMMAND…
// pipeline REQUESTS REPEAT unix:SOCKET
//
// Feeds a file of requests to a child as fast as the pipe takes them, reads the answers at the same time, and reports
// how long it took from the first byte to the last answer. The first request of the file is sent and answered before
// the clock starts, so that the start of the child is not in the figure; the rest is sent REPEAT times. With a socket
// the file holds RESP instead of lines.

#include <poll.h>

#include "messages.h"
#include "samples.h"

enum { buffer_size = 256 * 1024 };

/// Counts the answers; one that a read cut in two is kept until the rest of it comes.
typedef struct {
  char bytes[2 * buffer_size];
  size_t kept;  // the beginning of an answer whose end has not come yet
  size_t answers;
  Framing framing;
} Reader;

static void read_some(Reader *reader, int descriptor) {
  ssize_t got = read(descriptor, reader->bytes + reader->kept, sizeof reader->bytes - reader->kept);
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (got < 0) fail("read from the child");
  errno = 0;
  if (got == 0) fail("the child closed its output before the last answer");

  size_t filled = reader->kept + (size_t)got, whole = 0, end;
  while ((end = message_end(&reader->framing, (Text){reader->bytes + whole, filled - whole}))) {
    whole += end;
    reader->answers++;
  }
  if (whole == 0 && filled == sizeof reader->bytes) fail("an answer is longer than the buffer");
  if (!reader->framing.is_resp) refuse_errors((Text){reader->bytes, whole});
  reader->kept = filled - whole;
  memmove(reader->bytes, reader->bytes + whole, reader->kept);
}

/// Seconds from the first byte to the last of `expected` answers.
static double feed(Child *child, Text requests, size_t repeat, size_t expected, bool is_resp) {
  static Reader reader;
  reader.framing.is_resp = is_resp;
  Text left = requests;
  double start = now();
  while (reader.answers < expected) {
    bool writing = repeat > 0;
    struct pollfd ends[2] = {
        {.fd = child->output, .events = POLLIN},
        {.fd = writing ? child->input : -1, .events = POLLOUT},
    };
    if (poll(ends, 2, -1) < 0 && errno != EINTR) fail("poll");
    if (ends[0].revents) read_some(&reader, child->output);
    if (!writing || !ends[1].revents) continue;

    ssize_t written = write(child->input, left.bytes, left.count < buffer_size ? left.count : buffer_size);
    if (written < 0 && errno != EAGAIN && errno != EINTR) fail("write to the child");
    if (written > 0) left.bytes += written, left.count -= (size_t)written;
    if (left.count == 0) left = requests, repeat--;
  }
  double seconds = now() - start;
  if (reader.answers > expected || reader.kept > 0) errno = 0, fail("the child said more than it was asked");
  return seconds;
}

int main(int argc, char **argv) {
  if (argc < 4) errno = 0, fail("usage: pipeline REQUESTS REPEAT COMMAND…");
  Text requests = map_file(argv[1]);
  size_t repeat = strtoul(argv[2], NULL, 10);
  Framing framing = {.is_resp = is_socket(argv + 3)};
  Text first = take_message(&framing, &requests);
  size_t expected = repeat * count_messages(&framing, requests);

  Child child = open_child(argv + 3);
  static char answer[buffer_size];
  write_all(child.input, first);
  refuse_errors((Text){answer, read_answer(&framing, child.output, answer, sizeof answer)});

  // Only our end: the two ends of a pipe are separate descriptions, so the child's stdin stays as it was.
  fcntl(child.input, F_SETFL, O_NONBLOCK);
  double seconds = feed(&child, requests, repeat, expected, framing.is_resp);

  char pid[16];
  snprintf(pid, sizeof pid, "%d", child.pid);  // of a server there are none: 0
  long resident = memory_kib(pid, "VmRSS"), peak = memory_kib(pid, "VmHWM");
  double closed = now();
  end_child(&child);
  printf("{\"answers\":%zu,\"seconds\":%.6f,\"rss_kib\":%ld,\"hwm_kib\":%ld,\"exit_ms\":%.3f}\n", expected, seconds,
         resident, peak, (now() - closed) * 1e3);
}
