/* Answers every datagram with its text in capitals: the cost of a server in C that
   does nothing else.

   server recvfrom PORT    one datagram per system call
   server recvmmsg PORT    up to 64 datagrams per system call */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { SLOTS = 64, SIZE = 65536 };

static unsigned char capitals[256];
static unsigned char buffers[SLOTS][SIZE];

static void upper(unsigned char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        text[i] = capitals[text[i]];
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

static void in_batches(int fd)
{
    static struct mmsghdr messages[SLOTS];
    static struct iovec vectors[SLOTS];
    static struct sockaddr_in peers[SLOTS];
    for (int i = 0; i < SLOTS; i++) {
        vectors[i].iov_base = buffers[i];
        messages[i].msg_hdr.msg_name = &peers[i];
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    for (;;) {
        for (int i = 0; i < SLOTS; i++) {
            vectors[i].iov_len = SIZE;
            messages[i].msg_hdr.msg_namelen = sizeof peers[i];
        }
        int count = recvmmsg(fd, messages, SLOTS, MSG_WAITFORONE, NULL);
        for (int i = 0; i < count; i++) {
            vectors[i].iov_len = messages[i].msg_len;
            upper(buffers[i], vectors[i].iov_len);
        }
        for (int sent = 0; sent < count;) {
            int done = sendmmsg(fd, messages + sent, count - sent, 0);
            sent += done > 0 ? done : 1;
        }
    }
}

int main(int argc, char **argv)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), buffer = 4 << 20;
    struct sockaddr_in here = {.sin_family = AF_INET};
    if (argc != 3) {
        fprintf(stderr, "usage: server recvfrom|recvmmsg PORT\n");
        return 2;
    }
    for (int c = 0; c < 256; c++)
        capitals[c] = 'a' <= c && c <= 'z' ? c - 'a' + 'A' : c;
    here.sin_port = htons(atoi(argv[2]));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    if (bind(fd, (struct sockaddr *)&here, sizeof here) < 0) {
        perror("bind");
        return 1;
    }
    if (strcmp(argv[1], "recvmmsg") == 0)
        in_batches(fd);
    else
        one_by_one(fd);
}
