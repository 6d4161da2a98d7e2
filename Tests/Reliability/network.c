// A way to a server on the loopback address that can be made slow, stopped and broken.
//
//     network PORT
//
// Prints the port that it listens on; each connection there leads to PORT. Then it reads commands, one per line, and
// answers each with a number and a newline:
//
//     delay MICROSECONDS   each byte arrives so much later, each way                         0
//     target PORT          where connections lead that are made from now on                  0
//     stall                nothing arrives any more, and nobody is told                      0
//     flow                 it does again                                                     0
//     refuse               connections that are made from now on end at once                 0
//     accept               they do not                                                       0
//     cut                  all connections end, with what was on its way                     how many there were
//     lose COUNT           the next COUNT answers that say COMMIT are taken out of the way,
//                          and their connections end: done, and never answered               how many were lost so far
//
// It ends with its input.

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 1 << 16, AT_MOST_WAITING = 1 << 24 };

typedef struct Chunk {
  struct Chunk *next;
  int64_t due;
  ssize_t count;  // 0: the end
  char bytes[];
} Chunk;

struct Connection;

// One direction: a thread reads into the queue, another writes what is due.
typedef struct {
  struct Connection *connection;
  int from, to;
  bool has_answers;
  Chunk *first, *last;
  size_t waiting;
} Way;

typedef struct Connection {
  struct Connection *next;
  int client, server;
  Way ways[2];
  bool is_cut;
  int threads;
} Connection;

static atomic_int_least64_t delay;  // nanoseconds
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
// behind the lock:
static Connection *connections;
static bool is_stalled, is_refusing;
static int target, to_lose, lost;

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

// With the lock.
static void cut(Connection *connection) {
  connection->is_cut = true;
  shutdown(connection->client, SHUT_RDWR);
  shutdown(connection->server, SHUT_RDWR);
  pthread_cond_broadcast(&changed);
}

// With the lock. The last thread of a connection takes it away.
static void leave(Connection *connection) {
  if (--connection->threads > 0) return;
  for (Connection **place = &connections; *place != NULL; place = &(*place)->next) {
    if (*place != connection) continue;
    *place = connection->next;
    break;
  }
  for (int number = 0; number < 2; number++) {
    for (Chunk *chunk = connection->ways[number].first; chunk != NULL;) {
      Chunk *next = chunk->next;
      free(chunk);
      chunk = next;
    }
  }
  close(connection->client);
  close(connection->server);
  free(connection);
}

static void *read_way(void *argument) {
  Way *way = argument;
  for (bool goes_on = true; goes_on;) {
    Chunk *chunk = malloc(sizeof *chunk + CHUNK);
    ssize_t count = read(way->from, chunk->bytes, CHUNK);
    *chunk = (Chunk){.due = now() + atomic_load(&delay), .count = count > 0 ? count : 0};
    goes_on = count > 0;
    chunk = realloc(chunk, sizeof *chunk + chunk->count);
    pthread_mutex_lock(&lock);
    while (way->waiting > AT_MOST_WAITING && !way->connection->is_cut) pthread_cond_wait(&changed, &lock);
    if (way->last != NULL) way->last->next = chunk; else way->first = chunk;
    way->last = chunk;
    way->waiting += chunk->count;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
  }
  pthread_mutex_lock(&lock);
  leave(way->connection);
  pthread_mutex_unlock(&lock);
  return NULL;
}

// With the lock: what is to be passed on next, when it is due; NULL when the connection is cut.
static Chunk *next_chunk(Way *way) {
  for (;;) {
    if (way->connection->is_cut) return NULL;
    Chunk *chunk = way->first;
    if (chunk == NULL || is_stalled) {
      pthread_cond_wait(&changed, &lock);
    } else if (chunk->due > now()) {
      struct timespec due = {chunk->due / 1000000000, chunk->due % 1000000000};
      pthread_mutex_unlock(&lock);
      clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
      pthread_mutex_lock(&lock);
    } else {
      way->first = chunk->next;
      if (way->first == NULL) way->last = NULL;
      way->waiting -= chunk->count;
      if (way->waiting > 0) pthread_cond_broadcast(&changed);
      return chunk;
    }
  }
}

static void *write_way(void *argument) {
  Way *way = argument;
  prctl(PR_SET_TIMERSLACK, 1000);
  pthread_mutex_lock(&lock);
  for (Chunk *chunk; (chunk = next_chunk(way)) != NULL;) {
    if (way->has_answers && to_lose > 0 && memmem(chunk->bytes, chunk->count, "COMMIT", 7) != NULL) {
      to_lose--;
      lost++;
      cut(way->connection);
      free(chunk);
      break;
    }
    pthread_mutex_unlock(&lock);
    bool goes_on = chunk->count > 0;
    if (!goes_on) shutdown(way->to, SHUT_WR);
    for (ssize_t done = 0; done < chunk->count;) {
      ssize_t count = write(way->to, chunk->bytes + done, chunk->count - done);
      if (count <= 0) {
        shutdown(way->from, SHUT_RDWR);
        goes_on = false;
        break;
      }
      done += count;
    }
    free(chunk);
    pthread_mutex_lock(&lock);
    if (!goes_on) break;
  }
  leave(way->connection);
  pthread_mutex_unlock(&lock);
  return NULL;
}

static void begin(pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
  pthread_t thread;
  if (pthread_create(&thread, attributes, run, argument) != 0) {
    perror("network");
    exit(1);
  }
}

static void *accept_all(void *argument) {
  int listener = *(int *)argument, on = 1;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 1 << 17);
  for (;;) {
    int client = accept(listener, NULL, NULL);
    if (client < 0) continue;
    pthread_mutex_lock(&lock);
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(target)};
    bool refused = is_refusing;
    pthread_mutex_unlock(&lock);
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int server = refused ? -1 : socket(AF_INET, SOCK_STREAM, 0);
    if (server < 0 || connect(server, (struct sockaddr *)&place, sizeof place) != 0) {
      close(client);
      if (server >= 0) close(server);
      continue;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    Connection *new = calloc(1, sizeof *new);
    *new = (Connection){.client = client, .server = server, .threads = 4};
    new->ways[0] = (Way){.connection = new, .from = client, .to = server};
    new->ways[1] = (Way){.connection = new, .from = server, .to = client, .has_answers = true};
    pthread_mutex_lock(&lock);
    new->next = connections;
    connections = new;
    if (is_refusing) cut(new);
    pthread_mutex_unlock(&lock);
    for (int number = 0; number < 2; number++) {
      begin(&attributes, read_way, &new->ways[number]);
      begin(&attributes, write_way, &new->ways[number]);
    }
  }
  return NULL;
}

static int obey(const char *word, int64_t value) {
  int answer = 0;
  pthread_mutex_lock(&lock);
  if (strcmp(word, "delay") == 0) atomic_store(&delay, value * 1000);
  else if (strcmp(word, "target") == 0) target = (int)value;
  else if (strcmp(word, "stall") == 0) is_stalled = true;
  else if (strcmp(word, "flow") == 0) is_stalled = false;
  else if (strcmp(word, "refuse") == 0) is_refusing = true;
  else if (strcmp(word, "accept") == 0) is_refusing = false;
  else if (strcmp(word, "cut") == 0) {
    for (Connection *each = connections; each != NULL; each = each->next) {
      answer += !each->is_cut;
      cut(each);
    }
  } else if (strcmp(word, "lose") == 0) {
    to_lose = (int)value;
    answer = lost;
  } else answer = -1;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
  return answer;
}

int main(int count, char **words) {
  if (count != 2) return fprintf(stderr, "usage: network PORT\n"), 64;
  signal(SIGPIPE, SIG_IGN);
  target = atoi(words[1]);
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in place = {.sin_family = AF_INET};
  place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof place;
  if (bind(listener, (struct sockaddr *)&place, size) != 0 || listen(listener, 128) != 0 ||
      getsockname(listener, (struct sockaddr *)&place, &size) != 0)
    return perror("network"), 1;
  printf("%d\n", ntohs(place.sin_port));
  fflush(stdout);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  begin(&attributes, accept_all, &listener);
  char line[64], word[17];
  while (fgets(line, sizeof line, stdin) != NULL) {
    long long value = 0;
    if (sscanf(line, "%16s %lld", word, &value) < 1) continue;
    printf("%d\n", obey(word, value));
    fflush(stdout);
  }
}
