/* Sends datagrams to a server on 127.0.0.1 and checks every reply.

   load PORT SIZE SECONDS closed SOCKETS WINDOW
       Each socket keeps WINDOW datagrams in flight.  The sockets take turns: one waits
       for a reply, receives all that have arrived, and sends as many datagrams.  After
       TIMEOUT the datagrams of a socket are lost, and are replaced.

   load PORT SIZE SECONDS open SOCKETS RATE SEED
       Datagrams become due at random, RATE per second in total (a Poisson process),
       each on a random socket.  They are sent on time whatever the server does.

   Every datagram is a send(2) of its own on a connected socket, and every reply a
   recv(2), as with real clients.  A datagram begins with its number in letters, so each
   reply is matched with its request, and compared byte for byte.

   After a warm-up with the same sockets the program prints "ready" and waits for a
   line, so that the caller can read the CPU time of the server while it is idle.  Then
   it measures, and prints one JSON object; times are in microseconds. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DIGITS = 8, MAX_SIZE = 65507, MAX_SOCKETS = 1024, RING = 1 << 20 };

/* In nanoseconds. */
static const int64_t WARM_UP = 200000000, REPLY_WAIT = 20000000, TIMEOUT = 200000000,
                     GRACE = 500000000;

struct client {
    int fd, in_flight;
    uint32_t oldest, next; /* Numbers of requests. */
};

struct request {
    uint32_t number;
    enum { IN_FLIGHT, LOST, ANSWERED } state;
    int64_t due, sent;
};

struct samples {
    size_t count;
    float values[1 << 22];
};

static struct client clients[MAX_SOCKETS];
static struct request ring[RING];
static struct samples from_due, from_sent, lateness;
static int sockets;
static size_t size;
static char text[MAX_SIZE], expected[MAX_SIZE], reply[65536], example[64];
static long sent, replies, wrong;
static int64_t begin, last_reply;

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void add(struct samples *samples, int64_t nanoseconds)
{
    size_t capacity = sizeof samples->values / sizeof *samples->values;
    samples->values[samples->count++ % capacity] = nanoseconds / 1e3f;
}

static void write_number(char *to, uint32_t number, char zero)
{
    for (int i = 0; i < DIGITS; i++)
        to[i] = zero + (number >> 4 * i & 15);
}

/* The numbers of a client's requests are its index plus multiples of the number of
   sockets. */
static struct request *find(uint32_t number)
{
    return &ring[number % RING];
}

static void send_request(struct client *client, int64_t due, int64_t time)
{
    *find(client->next) = (struct request){client->next, IN_FLIGHT, due, time};
    write_number(text, client->next, 'a');
    client->next += sockets;
    client->in_flight++;
    sent++;
    /* An error, such as that of a port that is closed, is a loss. */
    if (send(client->fd, text, size, 0) < 0 && errno != ECONNREFUSED)
        fail("send");
}

/* Returns 0 if there is no reply. */
static int receive(struct client *client, int flags)
{
    ssize_t length = recv(client->fd, reply, sizeof reply, flags);
    if (length < 0)
        return 0;
    last_reply = now();
    uint32_t number = 0;
    for (int i = 0; i < DIGITS; i++)
        number |= (reply[i] - 'A' + 0u) % 16 << 4 * i;
    write_number(expected, number, 'A');
    struct request *request = find(number);
    if (length != (ssize_t)size || memcmp(reply, expected, size) ||
        request->number != number || request->state == ANSWERED ||
        client != &clients[number % sockets]) {
        for (int i = 0; !wrong && i < length && i < (int)sizeof example - 1; i++)
            example[i] = reply[i] >= ' ' && reply[i] != '\\' && reply[i] != '"'
                             ? reply[i] : '.';
        wrong++;
        return 1;
    }
    if (request->state == IN_FLIGHT)
        client->in_flight--;
    request->state = ANSWERED;
    if (request->sent >= begin) {
        replies++;
        add(&from_due, last_reply - request->due);
        add(&from_sent, last_reply - request->sent);
    }
    return 1;
}

/* Gives up requests without a reply.  Returns the age of the oldest other one. */
static int64_t give_up(struct client *client, int64_t time)
{
    for (; client->oldest != client->next; client->oldest += sockets) {
        struct request *request = find(client->oldest);
        if (request->state == IN_FLIGHT) {
            if (time - request->sent < TIMEOUT)
                return time - request->sent;
            request->state = LOST;
            client->in_flight--;
        }
    }
    return 0;
}

static void closed_loop(int64_t nanoseconds, int window)
{
    int64_t time = now(), end = time + nanoseconds;
    for (int i = 0; i < sockets; i++)
        while (clients[i].in_flight < window)
            send_request(&clients[i], time, time);
    for (int i = 0, idle = 0; idle < sockets; i = (i + 1) % sockets) {
        struct client *client = &clients[i];
        idle = client->in_flight ? 0 : idle + 1;
        if (idle)
            continue;
        /* A reply that is late is not waited for, so that one loss does not stop all. */
        int flags = give_up(client, time) < REPLY_WAIT ? 0 : MSG_DONTWAIT;
        while (client->in_flight && receive(client, flags))
            flags = MSG_DONTWAIT;
        time = now();
        while (client->in_flight < window && time < end)
            send_request(client, time, time);
    }
}

static void open_loop(int64_t nanoseconds, double rate)
{
    struct epoll_event events[MAX_SOCKETS];
    int epoll = epoll_create1(0), ready = 0;
    for (int i = 0; i < sockets; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i].fd, &event) < 0)
            fail("epoll_ctl");
    }
    int64_t end = begin + nanoseconds;
    double due = begin;
    for (;;) {
        int64_t time = now();
        if (due <= time && due < end) {
            add(&lateness, time - (int64_t)due);
            send_request(&clients[lrand48() % sockets], due, time);
            due -= log(1 - drand48()) / rate * 1e9;
        } else if (ready > 0) {
            receive(events[--ready].data.ptr, MSG_DONTWAIT);
        } else if (due >= end && (replies == sent || time > end + GRACE)) {
            break;
        } else {
            ready = epoll_wait(epoll, events, sockets, 0);
        }
    }
}

static void connect_to(int port)
{
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval timeout = {.tv_usec = REPLY_WAIT / 1000};
    int buffer = 4 << 20;
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < sockets; i++) {
        int fd = clients[i].fd = socket(AF_INET, SOCK_DGRAM, 0);
        if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) < 0)
            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
        clients[i].oldest = clients[i].next = i;
        if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0)
            fail("connect");
    }
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void print_percentiles(const char *name, struct samples *samples)
{
    size_t capacity = sizeof samples->values / sizeof *samples->values;
    size_t n = samples->count < capacity ? samples->count : capacity;
    qsort(samples->values, n, sizeof *samples->values, compare);
    printf(", \"%s_p50\": %.3f, \"%s_p99\": %.3f", name, samples->values[n / 2], name,
           samples->values[n * 99 / 100]);
}

static double cpu(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return r.ru_utime.tv_sec + r.ru_stime.tv_sec +
           (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
    int is_open = argc == 8 && !strcmp(argv[4], "open");
    if (!is_open && (argc != 7 || strcmp(argv[4], "closed"))) {
        fprintf(stderr, "usage: load PORT SIZE SECONDS closed SOCKETS WINDOW\n"
                        "       load PORT SIZE SECONDS open SOCKETS RATE SEED\n");
        return 2;
    }
    size = atoi(argv[2]);
    sockets = atoi(argv[5]);
    if (size < DIGITS || size > MAX_SIZE || sockets < 1 || sockets > MAX_SOCKETS) {
        fprintf(stderr, "load: size or number of sockets out of range\n");
        return 2;
    }
    for (size_t i = 0; i < size; i++) {
        text[i] = "the quick brown fox jumps over the lazy dog, "[i % 45];
        expected[i] = 'a' <= text[i] && text[i] <= 'z' ? text[i] - 'a' + 'A' : text[i];
    }
    connect_to(atoi(argv[1]));
    closed_loop(WARM_UP, is_open ? 1 : atoi(argv[6]));
    puts("ready");
    fflush(stdout);
    getchar();

    sent = replies = from_due.count = from_sent.count = 0;
    double before = cpu();
    int64_t nanoseconds = atof(argv[3]) * 1e9;
    begin = last_reply = now();
    if (is_open) {
        srand48(atol(argv[7]));
        open_loop(nanoseconds, atof(argv[6]));
    } else {
        closed_loop(nanoseconds, atoi(argv[6]));
    }
    printf("{\"sent\": %ld, \"replies\": %ld, \"lost\": %ld, \"wrong\": %ld, "
           "\"example\": \"%s\", \"seconds\": %.6f, \"cpu\": %.6f",
           sent, replies, sent - replies, wrong, example, (last_reply - begin) / 1e9,
           cpu() - before);
    print_percentiles("due", &from_due);
    print_percentiles("sent", &from_sent);
    print_percentiles("late", &lateness);
    puts("}");
}
