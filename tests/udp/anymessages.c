/* The extension with a kernel that receives any message: each datagram at a UNIX socket
   is a Script, which says what recvmmsg(2) returns. */

#define _GNU_SOURCE 1
#define recvmmsg receiveScripts
#include "../../shout/udp/_mmsg.c"

typedef struct {
    uint32_t length, nameLength, controlLength;
    unsigned char name[NAME], control[RAW - NAME];
} Script;

int receiveScripts(int fd, struct mmsghdr *messages, unsigned int count, int flags,
                   struct timespec *timeout)
{
    unsigned int received = 0;
    Script script;
    (void)timeout;
    for (; received < count && recv(fd, &script, sizeof script, flags) > 0; received++) {
        struct msghdr *header = &messages[received].msg_hdr;
        if (header->msg_namelen != NAME || header->msg_controllen != RAW - NAME ||
            script.controlLength > RAW - NAME)
            abort();
        memcpy(header->msg_name, script.name, NAME);
        /* What was there before remains behind the control messages. */
        memcpy(header->msg_control, script.control, script.controlLength);
        header->msg_namelen = script.nameLength;
        header->msg_controllen = script.controlLength;
        messages[received].msg_len = script.length;
    }
    return received > 0 ? (int)received : -1;
}
