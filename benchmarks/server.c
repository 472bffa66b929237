/* Answers every datagram with its text in capitals: the cost of a server in C that
   does nothing else.

   server recvfrom PORT    one datagram per system call
   server same PORT        the same job as shout: epoll_wait(2), up to 64 datagrams per
                           recvmmsg(2) and sendmmsg(2), and replies that leave from the
                           address that was asked (IP_PKTINFO, see ip(7)) */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* The odd stride spreads the slots over different cache lines. */
enum { SLOTS = 64, SIZE = 65536, STRIDE = SIZE + 64 };

static unsigned char buffers[SLOTS][STRIDE];

/* Without a branch, so that the compiler vectorises it. */
static void upper(unsigned char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        text[i] -= ((unsigned char)(text[i] - 'a') < 26) << 5;
}

static void one_by_one(int fd)
{
    struct sockaddr_in peer;
    for (;;) {
        socklen_t size = sizeof peer;
        ssize_t length =
            recvfrom(fd, buffers[0], SIZE, 0, (struct sockaddr *)&peer, &size);
        if (length < 0)
            continue;
        upper(buffers[0], length);
        sendto(fd, buffers[0], length, 0, (struct sockaddr *)&peer, size);
    }
}

static struct mmsghdr messages[SLOTS];
static struct iovec vectors[SLOTS];
static struct sockaddr_in peers[SLOTS];
static union {
    char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
    struct cmsghdr header;
} controls[SLOTS];

static void prepare(int count)
{
    for (int i = 0; i < count; i++) {
        vectors[i] = (struct iovec){buffers[i], SIZE};
        messages[i].msg_hdr = (struct msghdr){
            .msg_name = &peers[i],
            .msg_namelen = sizeof peers[i],
            .msg_iov = &vectors[i],
            .msg_iovlen = 1,
            .msg_control = &controls[i],
            .msg_controllen = sizeof controls[i],
        };
    }
}

static int answer_batch(int fd)
{
    int count = recvmmsg(fd, messages, SLOTS, MSG_DONTWAIT, NULL);
    for (int i = 0; i < count; i++) {
        vectors[i].iov_len = messages[i].msg_len;
        upper(buffers[i], vectors[i].iov_len);
        /* The route decides on the interface. */
        ((struct in_pktinfo *)CMSG_DATA(&controls[i].header))->ipi_ifindex = 0;
    }
    for (int sent = 0; sent < count;) {
        int done = sendmmsg(fd, messages + sent, count - sent, MSG_DONTWAIT);
        sent += done > 0 ? done : 1;
    }
    prepare(count);
    return count;
}

static void in_batches(int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(0), on = 1;
    setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    prepare(SLOTS);
    for (;;) {
        epoll_wait(epoll, &event, 1, -1);
        /* After a batch that is less than half full the socket is usually empty. */
        while (answer_batch(fd) > SLOTS / 2)
            ;
    }
}

int main(int argc, char **argv)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), buffer = 4 << 20;
    struct sockaddr_in here = {.sin_family = AF_INET};
    if (argc != 3) {
        fprintf(stderr, "usage: server recvfrom|same PORT\n");
        return 2;
    }
    here.sin_port = htons(atoi(argv[2]));
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    if (bind(fd, (struct sockaddr *)&here, sizeof here) < 0) {
        perror("bind");
        return 1;
    }
    if (strcmp(argv[1], "same") == 0)
        in_batches(fd);
    else
        one_by_one(fd);
}
