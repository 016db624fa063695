/* The ping-pong of paramgmt_tasks/recipes/programs in C, for what Python adds to it: cc -O2 -o ping_pong ping_pong.c
 * ping_pong uds|tcp SIZE PACKETS prints the milliseconds. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char buffer[1 << 17];

static void check(int good, const char *what) {
  if (!good) {
    perror(what);
    exit(1);
  }
}

static void put(int fd, size_t size) {
  for (size_t sent = 0; sent < size;) {
    ssize_t count = send(fd, buffer + sent, size - sent, 0);
    check(count > 0, "send");
    sent += count;
  }
}

int main(int argc, char **argv) {
  check(argc == 4, "usage: ping_pong uds|tcp SIZE PACKETS");
  int tcp = !strcmp(argv[1], "tcp"), one = 1;
  size_t size = strtoul(argv[2], NULL, 10);
  long packets = strtol(argv[3], NULL, 10);
  struct sockaddr_un path = {.sun_family = AF_UNIX};
  struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = tcp ? sizeof place : sizeof path;
  struct sockaddr *address = tcp ? (struct sockaddr *)&place : (struct sockaddr *)&path;
  snprintf(path.sun_path, sizeof path.sun_path, "/tmp/ping_pong.%d", getpid());
  int listener = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM, 0);
  check(!bind(listener, address, length) && !listen(listener, 1), "listen");
  check(!getsockname(listener, address, &length), "getsockname");
  pid_t child = fork();
  check(child >= 0, "fork");
  int fd = child ? socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM, 0) : accept(listener, NULL, NULL);
  if (child) check(!connect(fd, address, length), "connect");
  if (tcp) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (!child) {
    ssize_t count;
    while ((count = recv(fd, buffer, sizeof buffer, 0)) > 0) put(fd, count);
    return 0;
  }
  struct timespec begun, ended;
  clock_gettime(CLOCK_MONOTONIC, &begun);
  for (long packet = 0; packet < packets; packet++) {
    put(fd, size);
    for (size_t got = 0; got < size;) {
      ssize_t count = recv(fd, buffer + got, size - got, 0);
      check(count > 0, "recv");
      got += count;
    }
  }
  clock_gettime(CLOCK_MONOTONIC, &ended);
  printf("%.3f\n", (ended.tv_sec - begun.tv_sec) * 1e3 + (ended.tv_nsec - begun.tv_nsec) / 1e6);
  close(fd);
  unlink(path.sun_path);
  waitpid(child, NULL, 0);
  return 0;
}
