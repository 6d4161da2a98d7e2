// round_trips REQUESTS COUNT COMMAND…
//
// One request at a time: writes a line, reads the whole answer, notes the time between. Goes round the lines of the
// file until COUNT answers were timed, after a warm-up of a tenth as many that nobody counts.

#include "child.h"
#include "samples.h"

enum { answer_size = 16 << 20 };

int main(int argc, char **argv) {
  if (argc < 4) errno = 0, fail("usage: round_trips REQUESTS COUNT COMMAND…");
  Text file = map_file(argv[1]), left = file;
  size_t count = strtoul(argv[2], NULL, 10), warm_up = count / 10 + 1;
  Samples trips = samples_for(count);
  char *answer = malloc(answer_size);
  size_t answer_bytes = 0;

  Child child = spawn_child(argv + 3);
  for (size_t trip = 0; trip < warm_up + count; trip++) {
    if (left.count == 0) left = file;
    Text request = take_line(&left);
    double start = now();
    write_all(child.input, request);
    answer_bytes = read_answer(child.output, answer, answer_size);
    if (trip >= warm_up) add_sample(&trips, now() - start);
    refuse_errors((Text){answer, answer_bytes});
  }
  end_child(&child);

  printf("{");
  print_samples("trip", &trips);
  printf(",\"answer_bytes\":%zu}\n", answer_bytes);
}
