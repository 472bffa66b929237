/* Receives and sends many datagrams with one system call: recvmmsg(2), sendmmsg(2).

   Payloads are received into slots of fixed size, of which only the pages that have
   been filled become resident, and copied into bytes objects.  The raw address of a
   datagram is its sockaddr and its control messages.  It is looked up in a table of
   recent peers, so that Python decodes only those that are not found there.

   Datagrams are sent from their bytes objects without a copy.  Neighbours of one length
   to one peer leave as one message with a UDP_SEGMENT control message, so that the
   kernel walks its send path once for all of them; see udp(7). */

#define _GNU_SOURCE 1
#ifdef SHOUT_LIMITED_API
#define Py_LIMITED_API 0x030A0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

/* From linux/udp.h and asm-generic/socket.h. */
enum { OPTION_SEGMENT = 103, OPTION_GRO = 104 };
enum { OPTION_TIMESTAMPNS = 35, OPTION_TIMESTAMPING = 37 };

/* Maximum number of messages per system call.  The kernel takes at least as many
   segments in a message (UDP_MAX_SEGMENTS). */
enum { SLOTS = 64 };

/* A datagram has at most 65,535 bytes.  Most end in the near part of their slot.  These
   parts stand close together, which saves the processor address translations. */
enum { NEAR = 2048, FAR = 65536 - NEAR };

/* All segments of a message have to fit into one packet. */
enum { MAX_SEGMENTED = 65000 };

/* Size of a raw address: a sockaddr of any family, padded, and control messages.  Only
   those that fit into a key are remembered. */
enum { NAME = 32, RAW = 256, KEY = 128 };

/* Number of entries in the table, and of those at which a peer can stand. */
enum { PEERS = 2048, WINDOW = 8 };

/* Size of the control messages of a reply: packet information, a type of service, and a
   segment size. */
enum { INFO = CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int)) };
enum { SEGMENT = CMSG_SPACE(sizeof(uint16_t)) };

typedef struct {
    PyObject *peer;
    size_t length;
    unsigned char key[KEY];
} Entry;

/* What a datagram came with. */
typedef struct {
    size_t length;
    size_t segment; /* Length of coalesced datagrams; see UDP_GRO in udp(7). */
    Py_ssize_t parts; /* Number of datagrams. */
    size_t keyLength;
    long long time; /* Time of arrival in nanoseconds, or 0. */
    PyObject *peer;
} Arrival;

typedef struct {
    PyObject_HEAD
    int fd;
    int canSegment;
    int isReceiving, isSending;
    int overwritten; /* Number of headers that the kernel has overwritten. */
    unsigned int evictions;
    unsigned long long receivedBytes, sentBytes;
    PyObject *decode;
    PyObject *rawAddressName, *maxSegmentName;
    unsigned char *buffers;
    Entry *table;
    Arrival arrivals[SLOTS];
    struct mmsghdr received[SLOTS], sent[SLOTS];
    struct iovec receiveVectors[SLOTS][2], sendVectors[SLOTS];
    _Alignas(8) unsigned char raw[SLOTS][RAW];
    _Alignas(8) unsigned char controls[SLOTS][INFO + SEGMENT];
} BatchIO;

static const size_t buffersSize = (size_t)SLOTS * (NEAR + FAR);

static unsigned char *nearPart(BatchIO *self, int slot)
{
    return self->buffers + (size_t)slot * NEAR;
}

static unsigned char *farPart(BatchIO *self, int slot)
{
    return self->buffers + (size_t)SLOTS * NEAR + (size_t)slot * FAR;
}

static void prepareToReceive(BatchIO *self, int slot)
{
    struct msghdr *header = &self->received[slot].msg_hdr;
    header->msg_namelen = NAME;
    header->msg_controllen = RAW - NAME;
}

/* Reads the control messages, and makes the raw address a key: without those that
   differ from datagram to datagram, and padded with zeros. */
static void readControl(BatchIO *self, int slot)
{
    Arrival *arrival = &self->arrivals[slot];
    struct msghdr *header = &self->received[slot].msg_hdr;
    unsigned char *end = self->raw[slot] + NAME, *stop = end + header->msg_controllen;
    struct cmsghdr *message = CMSG_FIRSTHDR(header), *next;
    arrival->length = arrival->segment = self->received[slot].msg_len;
    arrival->parts = 1;
    arrival->time = 0;
    for (; message != NULL; message = next) {
        int level = message->cmsg_level, type = message->cmsg_type;
        size_t rest = (size_t)(stop - (unsigned char *)message);
        size_t length = message->cmsg_len - CMSG_LEN(0), space = CMSG_SPACE(length);
        if (message->cmsg_len < CMSG_LEN(0) || message->cmsg_len > rest)
            break;
        /* The message may be moved over itself below. */
        next = CMSG_NXTHDR(header, message);
        if (level == IPPROTO_UDP && type == OPTION_GRO && length >= sizeof(int)) {
            int segment;
            memcpy(&segment, CMSG_DATA(message), sizeof segment);
            if (segment > 0 && (size_t)segment < arrival->length) {
                arrival->segment = (size_t)segment;
                arrival->parts =
                    (Py_ssize_t)((arrival->length - 1) / arrival->segment) + 1;
            }
        } else if (level == SOL_SOCKET && type == OPTION_TIMESTAMPNS &&
                   length >= sizeof(struct timespec)) {
            struct timespec time;
            memcpy(&time, CMSG_DATA(message), sizeof time);
            /* Unsigned, because that may overflow, as with a clock set to 2263. */
            arrival->time = (long long)((uint64_t)time.tv_sec * 1000000000U +
                                        (uint64_t)time.tv_nsec);
        } else if (level != SOL_SOCKET || type != OPTION_TIMESTAMPING) {
            /* A socket that also takes times of sending has each time twice. */
            memmove(end, message, CMSG_LEN(length));
            memset(end + CMSG_LEN(length), 0, space - CMSG_LEN(length));
            end += space;
        }
    }
    arrival->keyLength = (size_t)(end - self->raw[slot]);
}

static size_t entryOf(const unsigned char *key, size_t length)
{
    uint64_t hash = length;
    for (size_t i = 0; i < length; i += sizeof(uint64_t)) {
        uint64_t word = 0;
        memcpy(&word, key + i, length - i < sizeof word ? length - i : sizeof word);
        hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
        hash ^= hash >> 32;
    }
    return hash % (PEERS / WINDOW) * WINDOW;
}

/* Returns the peer of a raw address: a new reference. */
static PyObject *findPeer(BatchIO *self, const unsigned char *key, size_t length)
{
    Entry *entry = NULL;
    PyObject *peer, *evicted;
    if (length <= KEY) {
        Entry *first = self->table + entryOf(key, length);
        for (entry = first; entry < first + WINDOW && entry->peer != NULL; entry++)
            if (entry->length == length && memcmp(entry->key, key, length) == 0)
                return Py_NewRef(entry->peer);
        if (entry == first + WINDOW)
            entry = first + self->evictions++ % WINDOW;
    }
    peer = PyObject_CallFunction(self->decode, "y#", key, (Py_ssize_t)length);
    if (peer != NULL && entry != NULL) {
        evicted = entry->peer;
        entry->peer = Py_NewRef(peer);
        entry->length = length;
        memcpy(entry->key, key, length);
        Py_XDECREF(evicted);
    }
    return peer;
}

/* Returns 1 if the raw address of a slot equals that of the slot before, as it does most
   often on a connected socket. */
static int isLikeBefore(BatchIO *self, int slot)
{
    size_t length = self->arrivals[slot].keyLength;
    return slot > 0 && self->arrivals[slot - 1].keyLength == length &&
           memcmp(self->raw[slot - 1], self->raw[slot], length) == 0;
}

/* Returns a part of what is in a slot as bytes. */
static PyObject *copy(BatchIO *self, int slot, size_t start, size_t length)
{
    PyObject *bytes;
    size_t near = start < NEAR ? NEAR - start : 0;
    char *content;
    if (length <= near)
        return PyBytes_FromStringAndSize((char *)nearPart(self, slot) + start,
                                         (Py_ssize_t)length);
    bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)length);
    if (bytes == NULL)
        return NULL;
    content = PyBytes_AsString(bytes);
    memcpy(content, nearPart(self, slot) + (near ? start : 0), near);
    memcpy(content + near, farPart(self, slot) + (near ? 0 : start - NEAR),
           length - near);
    return bytes;
}

/* Receives messages and reads their control messages.  Returns their number, 0 if
   nothing had arrived, or -1 with an exception. */
static int receiveMessages(BatchIO *self, PyObject *limit)
{
    long most = PyLong_AsLong(limit);
    int count;
    if (most == -1 && PyErr_Occurred())
        return -1;
    if (most < 1 || most > SLOTS)
        most = SLOTS;
    if (self->decode == NULL || self->isReceiving) {
        PyErr_SetString(PyExc_RuntimeError, "receive() is not reentrant");
        return -1;
    }
    for (int slot = 0; slot < self->overwritten; slot++)
        prepareToReceive(self, slot);
    do
        count = recvmmsg(self->fd, self->received, (unsigned int)most, MSG_DONTWAIT,
                         NULL);
    while (count < 0 && errno == EINTR);
    self->overwritten = count < 0 ? 1 : count < SLOTS ? count + 1 : SLOTS;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    if (count < 0)
        PyErr_SetFromErrno(PyExc_OSError);
    for (int slot = 0; slot < count; slot++) {
        readControl(self, slot);
        self->receivedBytes += self->arrivals[slot].length;
    }
    return count;
}

/* Returns the datagrams in the first slots as a list. */
static PyObject *datagramsOf(BatchIO *self, int count, Py_ssize_t total)
{
    PyObject *datagrams = PyList_New(total);
    Py_ssize_t index = 0;
    for (int slot = 0; datagrams != NULL && slot < count; slot++) {
        const Arrival *arrival = &self->arrivals[slot];
        size_t start = 0;
        for (Py_ssize_t part = 0; part < arrival->parts; part++) {
            size_t rest = arrival->length - start;
            size_t size = arrival->segment < rest ? arrival->segment : rest;
            PyObject *datagram = copy(self, slot, start, size);
            if (datagram == NULL) {
                Py_DECREF(datagrams);
                return NULL;
            }
            PyList_SetItem(datagrams, index++, datagram);
            start += size;
        }
    }
    return datagrams;
}

/* Returns an object for each datagram in the first slots as a list. */
static PyObject *valuesOf(BatchIO *self, int count, Py_ssize_t total,
                          PyObject *(*valueOf)(const Arrival *))
{
    PyObject *values = PyList_New(total);
    Py_ssize_t index = 0;
    for (int slot = 0; values != NULL && slot < count; slot++) {
        const Arrival *arrival = &self->arrivals[slot];
        PyObject *value = valueOf(arrival);
        if (value == NULL) {
            Py_DECREF(values);
            return NULL;
        }
        for (Py_ssize_t part = 0; part < arrival->parts; part++)
            PyList_SetItem(values, index++, Py_NewRef(value));
        Py_DECREF(value);
    }
    return values;
}

static PyObject *peerOf(const Arrival *arrival) { return Py_NewRef(arrival->peer); }

static PyObject *timeOf(const Arrival *arrival)
{
    return PyLong_FromLongLong(arrival->time);
}

static Py_ssize_t totalOf(BatchIO *self, int count)
{
    Py_ssize_t total = 0;
    for (int slot = 0; slot < count; slot++)
        total += self->arrivals[slot].parts;
    return total;
}

/* Returns the datagrams that have arrived and their peers, with their times between them
   if they are wanted. */
static PyObject *receiveBatch(BatchIO *self, PyObject *limit, int isTimed)
{
    PyObject *datagrams = NULL, *times = NULL, *peers = NULL, *result = NULL;
    int count = receiveMessages(self, limit), found = 0;
    if (count < 0)
        return NULL;
    if (count == 0)
        Py_RETURN_NONE;
    /* Python code must not receive into the slots meanwhile. */
    self->isReceiving = 1;
    for (; found < count; found++) {
        Arrival *arrival = &self->arrivals[found];
        arrival->peer = isLikeBefore(self, found)
                            ? Py_NewRef(self->arrivals[found - 1].peer)
                            : findPeer(self, self->raw[found], arrival->keyLength);
        if (arrival->peer == NULL)
            break;
    }
    if (found == count) {
        Py_ssize_t total = totalOf(self, count);
        datagrams = datagramsOf(self, count, total);
        peers = datagrams == NULL ? NULL : valuesOf(self, count, total, peerOf);
        if (peers != NULL && !isTimed)
            result = PyTuple_Pack(2, datagrams, peers);
        else if (peers != NULL &&
                 (times = valuesOf(self, count, total, timeOf)) != NULL)
            result = PyTuple_Pack(3, datagrams, times, peers);
    }
    while (found > 0)
        Py_DECREF(self->arrivals[--found].peer);
    self->isReceiving = 0;
    Py_XDECREF(datagrams);
    Py_XDECREF(times);
    Py_XDECREF(peers);
    return result;
}

PyDoc_STRVAR(receiveDoc, "receive(limit: int) -> tuple[list[bytes], list[Any]] | None");

static PyObject *receive(BatchIO *self, PyObject *limit)
{
    return receiveBatch(self, limit, 0);
}

PyDoc_STRVAR(receiveTimedDoc, "receiveTimed(limit: int) -> "
                              "tuple[list[bytes], list[int], list[Any]] | None");

static PyObject *receiveTimed(BatchIO *self, PyObject *limit)
{
    return receiveBatch(self, limit, 1);
}

/* Points the vectors to the content of datagrams, which must live until they are sent.
   Returns their number, or -1 with an exception. */
static int pointToDatagrams(BatchIO *self, PyObject *datagrams, Py_ssize_t start,
                            PyObject **held)
{
    Py_ssize_t rest = PyList_Size(datagrams) - start, length;
    int count = rest > SLOTS ? SLOTS : (int)rest;
    for (int i = 0; i < count; i++) {
        PyObject *datagram = PyList_GetItem(datagrams, start + i);
        char *content;
        if (datagram == NULL || PyBytes_AsStringAndSize(datagram, &content, &length) < 0)
            return -1;
        held[i] = Py_NewRef(datagram);
        self->sendVectors[i] = (struct iovec){content, (size_t)length};
    }
    return PyErr_Occurred() ? -1 : count < 0 ? 0 : count;
}

/* Addresses a message to a peer whose raw address must live until it is sent.  Returns
   0, or -1 with an exception. */
static int addressMessage(BatchIO *self, struct msghdr *header, PyObject *peer,
                          PyObject **held)
{
    char *raw;
    Py_ssize_t length;
    *held = PyObject_GetAttr(peer, self->rawAddressName);
    if (*held == NULL || PyBytes_AsStringAndSize(*held, &raw, &length) < 0)
        return -1;
    if (length < NAME || length > NAME + INFO) {
        PyErr_SetString(PyExc_ValueError, "invalid raw address");
        return -1;
    }
    header->msg_name = raw;
    header->msg_namelen = ((struct sockaddr *)raw)->sa_family == AF_INET
                              ? sizeof(struct sockaddr_in)
                              : sizeof(struct sockaddr_in6);
    header->msg_control = raw + NAME;
    header->msg_controllen = (size_t)length - NAME;
    return 0;
}

/* Returns the largest segment that the path to a peer takes, or -1 with an exception. */
static long maxSegmentOf(BatchIO *self, PyObject *peer)
{
    PyObject *value = PyObject_GetAttr(peer, self->maxSegmentName);
    long number = value == NULL ? -1 : PyLong_AsLong(value);
    Py_XDECREF(value);
    return number;
}

/* Returns the index after the last datagram that can leave in one message with a first
   one, or -1 with an exception. */
static int endOfMessage(BatchIO *self, PyObject *peers, PyObject *peer,
                        Py_ssize_t start, int first, int count)
{
    size_t length = self->sendVectors[first].iov_len, size = length;
    int end = first + 1;
    while (end < count && length > 0 && self->sendVectors[end].iov_len == length &&
           (size += length) <= MAX_SEGMENTED &&
           PyList_GetItem(peers, start + end) == peer) {
        if (end == first + 1) {
            long maxSegment = maxSegmentOf(self, peer);
            if (maxSegment < 0 && PyErr_Occurred())
                return -1;
            if (maxSegment < 0 || length > (size_t)maxSegment)
                break;
        }
        end++;
    }
    return end;
}

/* Adds the length of its segments to a message. */
static void segmentMessage(struct msghdr *header, unsigned char *control)
{
    uint16_t length = (uint16_t)header->msg_iov->iov_len;
    struct cmsghdr *message;
    memcpy(control, header->msg_control, header->msg_controllen);
    message = (struct cmsghdr *)(control + header->msg_controllen);
    memset(message, 0, SEGMENT);
    message->cmsg_level = IPPROTO_UDP;
    message->cmsg_type = OPTION_SEGMENT;
    message->cmsg_len = CMSG_LEN(sizeof length);
    memcpy(CMSG_DATA(message), &length, sizeof length);
    header->msg_control = control;
    header->msg_controllen += SEGMENT;
}

/* Makes messages of the first datagrams.  Returns their number, or -1 with an
   exception. */
static int makeMessages(BatchIO *self, PyObject *peers, Py_ssize_t start, int count,
                        PyObject **held)
{
    int messages = 0;
    for (int first = 0, end; first < count; first = end) {
        struct msghdr *header = &self->sent[messages].msg_hdr;
        PyObject *peer = peers == Py_None ? NULL : PyList_GetItem(peers, start + first);
        end = first + 1;
        *header = (struct msghdr){.msg_iov = &self->sendVectors[first]};
        if (peer != NULL && addressMessage(self, header, peer, &held[first]) < 0)
            return -1;
        if (peer != NULL && self->canSegment)
            end = endOfMessage(self, peers, peer, start, first, count);
        if (end < 0 || PyErr_Occurred())
            return -1;
        header->msg_iovlen = (size_t)(end - first);
        if (end > first + 1)
            segmentMessage(header, self->controls[messages]);
        messages++;
    }
    return messages;
}

PyDoc_STRVAR(sendDoc, "send(datagrams: list[bytes], peers: list[Any] | None, "
                      "start: int) -> int");

static PyObject *send_(BatchIO *self, PyObject *args)
{
    PyObject *datagrams, *peers, *contents[SLOTS] = {NULL}, *addresses[SLOTS] = {NULL};
    Py_ssize_t start, sent = 0;
    int count, messages = 0, done = 0;
    if (!PyArg_ParseTuple(args, "OOn", &datagrams, &peers, &start))
        return NULL;
    if (!PyList_Check(datagrams) || (peers != Py_None && !PyList_Check(peers))) {
        PyErr_SetString(PyExc_TypeError, "send() takes lists");
        return NULL;
    }
    if (self->isSending) {
        PyErr_SetString(PyExc_RuntimeError, "send() is not reentrant");
        return NULL;
    }
    /* An attribute of a peer can be a property, and sending from there would move the
       vectors to datagrams that are gone. */
    self->isSending = 1;
    count = pointToDatagrams(self, datagrams, start, contents);
    if (count > 0)
        messages = makeMessages(self, peers, start, count, addresses);
    if (count < 0 || messages < 0)
        done = -1;
    else if (messages > 0) {
        do
            done = sendmmsg(self->fd, self->sent, (unsigned int)messages, MSG_DONTWAIT);
        while (done < 0 && errno == EINTR);
        if (done < 0)
            PyErr_SetFromErrno(PyExc_OSError);
    }
    for (int message = 0; message < done; message++) {
        sent += (Py_ssize_t)self->sent[message].msg_hdr.msg_iovlen;
        self->sentBytes += self->sent[message].msg_len;
    }
    for (int i = 0; i < SLOTS && contents[i] != NULL; i++) {
        Py_DECREF(contents[i]);
        Py_XDECREF(addresses[i]);
    }
    self->isSending = 0;
    return done < 0 ? NULL : PyLong_FromSsize_t(sent);
}

PyDoc_STRVAR(totalBytesDoc, "totalBytes() -> tuple[int, int]");

static PyObject *totalBytes(BatchIO *self, PyObject *Py_UNUSED(ignored))
{
    return Py_BuildValue("KK", self->receivedBytes, self->sentBytes);
}

static int clear(BatchIO *self)
{
    Py_CLEAR(self->decode);
    Py_CLEAR(self->rawAddressName);
    Py_CLEAR(self->maxSegmentName);
    for (int i = 0; self->table != NULL && i < PEERS; i++)
        Py_CLEAR(self->table[i].peer);
    return 0;
}

static int traverse(BatchIO *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->decode);
    for (int i = 0; self->table != NULL && i < PEERS; i++)
        Py_VISIT(self->table[i].peer);
    return 0;
}

static void dealloc(BatchIO *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    clear(self);
    PyMem_Free(self->table);
    if (self->buffers != NULL)
        munmap(self->buffers, buffersSize);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static void initializeHeaders(BatchIO *self)
{
    for (int slot = 0; slot < SLOTS; slot++) {
        struct msghdr *header = &self->received[slot].msg_hdr;
        self->receiveVectors[slot][0] = (struct iovec){nearPart(self, slot), NEAR};
        self->receiveVectors[slot][1] = (struct iovec){farPart(self, slot), FAR};
        header->msg_iov = self->receiveVectors[slot];
        header->msg_iovlen = 2;
        header->msg_name = self->raw[slot];
        header->msg_control = self->raw[slot] + NAME;
        prepareToReceive(self, slot);
    }
}

static PyObject *new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"fd", "decode", NULL};
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    PyObject *decode;
    BatchIO *self;
    void *buffers;
    int fd, size;
    socklen_t length = sizeof size;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iO", names, &fd, &decode))
        return NULL;
    self = (BatchIO *)allocate(type, 0);
    if (self == NULL)
        return NULL;
    self->fd = fd;
    self->decode = Py_NewRef(decode);
    /* Other kernels would send all the segments as one datagram. */
    self->canSegment = getsockopt(fd, IPPROTO_UDP, OPTION_SEGMENT, &size, &length) == 0;
    self->rawAddressName = PyUnicode_InternFromString("rawAddress");
    self->maxSegmentName = PyUnicode_InternFromString("maxSegment");
    self->table = PyMem_Calloc(PEERS, sizeof(Entry));
    /* Private, so that forked processes do not share it. */
    buffers = mmap(NULL, buffersSize, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    self->buffers = buffers == MAP_FAILED ? NULL : buffers;
    if (!self->rawAddressName || !self->maxSegmentName || !self->table ||
        !self->buffers) {
        Py_DECREF(self);
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    }
    initializeHeaders(self);
    return (PyObject *)self;
}

static PyMethodDef methods[] = {
    {"receive", (PyCFunction)receive, METH_O, receiveDoc},
    {"receiveTimed", (PyCFunction)receiveTimed, METH_O, receiveTimedDoc},
    {"send", (PyCFunction)send_, METH_VARARGS, sendDoc},
    {"totalBytes", (PyCFunction)totalBytes, METH_NOARGS, totalBytesDoc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, new},
    {Py_tp_dealloc, dealloc},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "shout.udp._mmsg.BatchIO",
    .basicsize = sizeof(BatchIO),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

static int execute(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    int result = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return result;
}

static PyModuleDef_Slot moduleSlots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_mmsg",
    .m_doc = "Receives and sends many datagrams with one system call.",
    .m_size = 0,
    .m_slots = moduleSlots,
};

PyMODINIT_FUNC PyInit__mmsg(void) { return PyModuleDef_Init(&definition); }
