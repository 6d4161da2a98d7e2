// round_trips REQUESTS COUNT COMMAND…
// round_trips REQUESTS COUNT unix:SOCKET
//
// One request at a time: writes it, reads the whole answer, notes the time between. Goes round the requests of the
// file until COUNT answers were timed, after a warm-up of a tenth as many that nobody counts. With a socket the file
// holds RESP instead of lines.

#include "messages.h"
#include "samples.h"

enum { answer_size = 16 << 20 };

int main(int argc, char **argv) {
  if (argc < 4) errno = 0, fail("usage: round_trips REQUESTS COUNT COMMAND…");
  Text file = map_file(argv[1]), left = file;
  size_t count = strtoul(argv[2], NULL, 10), warm_up = count / 10 + 1;
  Samples trips = samples_for(count);
  char *answer = malloc(answer_size);
  size_t answer_bytes = 0;

  Framing requests = {.is_resp = is_socket(argv + 3)}, answers = requests;
  double total = 0;
  Child child = open_child(argv + 3);
  for (size_t trip = 0; trip < warm_up + count; trip++) {
    if (left.count == 0) left = file;
    Text request = take_message(&requests, &left);
    double start = now();
    write_all(child.input, request);
    answer_bytes = read_answer(&answers, child.output, answer, answer_size);
    double seconds = now() - start;
    if (trip >= warm_up) add_sample(&trips, seconds), total += seconds;
    if (!answers.is_resp) refuse_errors((Text){answer, answer_bytes});
  }
  end_child(&child);

  printf("{");
  print_samples("trip", &trips);
  printf(",\"seconds\":%.6f,\"answer_bytes\":%zu}\n", total, answer_bytes);
}
