// spawns REQUEST COUNT COMMAND…
//
// Starts the command COUNT times. Each time: from the spawn to the first answer (start), and from the end of the input
// to the exit (exit). The file holds one request.

#include "messages.h"
#include "samples.h"

int main(int argc, char **argv) {
  if (argc < 4) errno = 0, fail("usage: spawns REQUEST COUNT COMMAND…");
  Text request = map_file(argv[1]);
  size_t count = strtoul(argv[2], NULL, 10);
  Samples starts = samples_for(count), exits = samples_for(count);
  static char answer[1 << 20];
  Framing framing = {0};

  // The first one finds the program's pages on disk rather than in memory, so it is not counted.
  for (size_t spawn = 0; spawn < 1 + count; spawn++) {
    double spawned = now();
    Child child = spawn_child(argv + 3);
    write_all(child.input, request);
    size_t answer_bytes = read_answer(&framing, child.output, answer, sizeof answer);
    double answered = now();
    refuse_errors((Text){answer, answer_bytes});
    double closed = now();
    end_child(&child);
    double ended = now();
    if (spawn == 0) continue;
    add_sample(&starts, answered - spawned);
    add_sample(&exits, ended - closed);
  }

  printf("{");
  print_samples("start", &starts);
  printf(",");
  print_samples("exit", &exits);
  printf("}\n");
}
