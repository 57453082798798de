// The other side of every connection, which does what it is told: a process of
// its own, in the other namespace and on its kernel, or a thread of the script's
// process, whose sockets are as much the shim's as the script's own.
#include "script.h"

#include <sched.h>

enum operation { LISTEN, CONNECT, LISTEN6, CONNECT6, ACCEPT, FLUSH, SEND, SEND_TEXT, URGENT, RECEIVE, TAKE, DRAIN, SHUTDOWN, CLOSE, RESET, RCVBUF };

struct request {
    enum operation operation;
    int slot;
    long number;
    long from;
    char text[64];
};

static int control = -1;
int peer_is_thread;

int run_peer(int control);

unsigned char pattern(long offset) { return (unsigned char)(offset * 7 + offset / 251); }

static void *peer_thread(void *end) {
    run_peer((int)(long)end);
    return NULL;
}

// Signals are for the script's own threads.
static void start_peer_thread(int end) {
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_create(&thread, NULL, peer_thread, (void *)(long)end);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void start_peer(const char *namespace, const char *self) {
    int ends[2];
    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
    control = ends[0];
    if (!strcmp(namespace, "thread")) {
        peer_is_thread = 1;
        start_peer_thread(ends[1]);
        return;
    }
    if (fork() == 0) {
        char path[128], number[16];
        snprintf(path, sizeof path, "/run/netns/%s", namespace);
        int file = open(path, O_RDONLY);
        if (file < 0 || setns(file, CLONE_NEWNET)) {
            perror("setns");
            _exit(1);
        }
        close(ends[0]);
        fcntl(ends[1], F_SETFD, 0);
        unsetenv("LD_PRELOAD");
        snprintf(number, sizeof number, "%d", ends[1]);
        execl(self, self, "peer", inet_ntoa(own_ip), number, (char *)NULL);
        perror("execl");
        _exit(1);
    }
    close(ends[1]);
}

static long ask(struct request request) {
    long result = -EIO, count;
    if (write(control, &request, sizeof request) == sizeof request) {
        // A signal that was late on a busy machine is none of the peer's.
        while ((count = read(control, &result, sizeof result)) < 0 && errno == EINTR)
            continue;
        if (count == sizeof result)
            return result;
    }
    perror("the peer is gone");
    exit(1);
}

long peer_listen(int slot, int port) { return ask((struct request){LISTEN, slot, port, 0, ""}); }
long peer_connect(int slot, int port) { return ask((struct request){CONNECT, slot, port, 0, ""}); }
long peer_listen6(int slot, int port) { return ask((struct request){LISTEN6, slot, port, 0, ""}); }
long peer_connect6(int slot, int port) { return ask((struct request){CONNECT6, slot, port, 0, ""}); }
long peer_accept(int from, int slot) { return ask((struct request){ACCEPT, slot, from, 0, ""}); }
long peer_flush(int slot) { return ask((struct request){FLUSH, slot, 0, 0, ""}); }
long peer_send(int slot, long bytes) { return ask((struct request){SEND, slot, bytes, 0, ""}); }
long peer_urgent(int slot) { return ask((struct request){URGENT, slot, 0, 0, ""}); }
long peer_receive(int slot, long bytes, long from) { return ask((struct request){RECEIVE, slot, bytes, from, ""}); }
long peer_take(int slot) { return ask((struct request){TAKE, slot, 0, 0, ""}); }
long peer_drain(int slot) { return ask((struct request){DRAIN, slot, 0, 0, ""}); }
long peer_shutdown(int slot, int how) { return ask((struct request){SHUTDOWN, slot, how, 0, ""}); }
long peer_close(int slot) { return ask((struct request){CLOSE, slot, 0, 0, ""}); }
long peer_reset(int slot) { return ask((struct request){RESET, slot, 0, 0, ""}); }
long peer_set_receive_buffer(int slot, long bytes) { return ask((struct request){RCVBUF, slot, bytes, 0, ""}); }

long peer_send_text(int slot, const char *text) {
    struct request request = {SEND_TEXT, slot, (long)strlen(text), 0, ""};
    strncpy(request.text, text, sizeof request.text - 1);
    return ask(request);
}

static long outcome(long value) { return value < 0 ? -errno : value; }

static long send_pattern(int fd, long bytes) {
    static char buffer[65536];
    long done = 0;
    while (done < bytes) {
        long part = bytes - done < (long)sizeof buffer ? bytes - done : (long)sizeof buffer;
        for (long i = 0; i < part; i++)
            buffer[i] = (char)pattern(done + i);
        long count = send(fd, buffer, part, MSG_NOSIGNAL);
        if (count < 0)
            return -errno;
        done += count;
    }
    return done;
}

static long receive_pattern(int fd, long bytes, long from) {
    static unsigned char buffer[65536];
    long done = 0;
    int same = 1;
    while (done < bytes) {
        long part = bytes - done < (long)sizeof buffer ? bytes - done : (long)sizeof buffer;
        long count = recv(fd, buffer, part, 0);
        if (count <= 0)
            return count < 0 ? -errno : done;
        for (long i = 0; i < count; i++)
            same &= buffer[i] == pattern(from + done + i);
        done += count;
    }
    return same ? done : -EBADMSG;
}

static long drain(int fd) {
    static char buffer[65536];
    long done = 0;
    for (;;) {
        long count = recv(fd, buffer, sizeof buffer, 0);
        if (count < 0)
            return -errno;
        if (count == 0)
            return done;
        done += count;
    }
}

// A socket whose calls give up after a while, so that a failed test goes on.
static int patient(int fd) {
    struct timeval limit = {5, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return fd;
}

static long serve(int *slots, const struct request *request) {
    int *slot = &slots[request->slot], on = 1;
    struct sockaddr_in address = at(own_ip, (int)request->number);
    struct sockaddr_in6 own6 = at6(OWN6, (int)request->number), any6 = at6("::", (int)request->number);
    static char buffer[65536];
    switch (request->operation) {
    case LISTEN:
        *slot = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(*slot, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        address.sin_addr.s_addr = INADDR_ANY;
        if (bind(*slot, (struct sockaddr *)&address, sizeof address))
            return -errno;
        return outcome(listen(*slot, 64));
    case CONNECT:
        *slot = patient(socket(AF_INET, SOCK_STREAM, 0));
        return outcome(connect(*slot, (struct sockaddr *)&address, sizeof address));
    case LISTEN6:
        *slot = socket(AF_INET6, SOCK_STREAM, 0);
        if (bind(*slot, (struct sockaddr *)&any6, sizeof any6))
            return -errno;
        return outcome(listen(*slot, 64));
    case CONNECT6:
        *slot = patient(socket(AF_INET6, SOCK_STREAM, 0));
        return outcome(connect(*slot, (struct sockaddr *)&own6, sizeof own6));
    case ACCEPT:
        *slot = patient(accept(slots[request->number], NULL, NULL));
        return *slot < 0 ? -errno : 0;
    case FLUSH:
        while (poll(&(struct pollfd){*slot, POLLIN, 0}, 1, 0) == 1)
            close(accept(*slot, NULL, NULL));
        return 0;
    case SEND:
        return send_pattern(*slot, request->number);
    case SEND_TEXT:
        return outcome(send(*slot, request->text, request->number, MSG_NOSIGNAL));
    case URGENT:
        return outcome(send(*slot, "!", 1, MSG_OOB | MSG_NOSIGNAL));
    case RECEIVE:
        return receive_pattern(*slot, request->number, request->from);
    case TAKE:
        return outcome(recv(*slot, buffer, sizeof buffer, MSG_DONTWAIT));
    case DRAIN:
        return drain(*slot);
    case SHUTDOWN:
        return outcome(shutdown(*slot, (int)request->number));
    case RESET:
        setsockopt(*slot, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
        // fall through
    case CLOSE:
        close(*slot);
        *slot = -1;
        return 0;
    case RCVBUF:
        on = (int)request->number;
        return outcome(setsockopt(*slot, SOL_SOCKET, SO_RCVBUF, &on, sizeof on));
    }
    return -ENOSYS;
}

int run_peer(int fd) {
    int slots[16];
    struct request request;
    for (size_t i = 0; i < 16; i++)
        slots[i] = -1;
    while (read(fd, &request, sizeof request) == sizeof request) {
        long result = serve(slots, &request);
        if (write(fd, &result, sizeof result) != sizeof result)
            break;
    }
    return 0;
}
