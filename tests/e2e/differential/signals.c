// Signals and cancellation during calls that wait.
#include "script.h"

static char buffer[1 << 16];

static void alarm_in(int milliseconds) {
    struct itimerval timer = {.it_value = {0, milliseconds * 1000}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

// An interrupted call, and how long it waited.
#define INTERRUPTED(call)                                                                                    \
    do {                                                                                                     \
        long start_ = now_ms();                                                                              \
        alarm_in(30);                                                                                        \
        C(call);                                                                                             \
        V(took(start_, 0, 800));                                                                            \
        V(taken_signals());                                                                                  \
    } while (0)

static void *send_later(void *text) {
    usleep(80000);
    peer_send_text(1, text);
    return NULL;
}

// A call that goes on after the handler, until the peer sends.
#define RESTARTED(call)                                                                                      \
    do {                                                                                                     \
        pthread_t thread_;                                                                                   \
        sigset_t all_, before_;                                                                              \
        sigfillset(&all_);                                                                                   \
        pthread_sigmask(SIG_SETMASK, &all_, &before_);                                                       \
        pthread_create(&thread_, NULL, send_later, (void *)"r");                                             \
        pthread_sigmask(SIG_SETMASK, &before_, NULL);                                                        \
        alarm_in(30);                                                                                        \
        C(call);                                                                                             \
        V(taken_signals());                                                                                  \
        pthread_join(thread_, NULL);                                                                         \
    } while (0)

static void waits(int fd, int server, int epfd) {
    struct epoll_event event;
    struct pollfd entry = {fd, POLLIN, 0};
    fd_set set;
    INTERRUPTED(poll(&entry, 1, 1000));
    INTERRUPTED(poll(&entry, 1, -1));
    INTERRUPTED(ppoll(&entry, 1, NULL, NULL));
    INTERRUPTED(epoll_wait(epfd, &event, 1, -1));
    INTERRUPTED(epoll_pwait(epfd, &event, 1, 1000, NULL));
    FD_ZERO(&set);
    FD_SET(fd, &set);
    INTERRUPTED(select(fd + 1, &set, NULL, NULL, NULL));
    V(FD_ISSET(fd, &set));
    INTERRUPTED(select(fd + 1, &set, NULL, NULL, &(struct timeval){2, 0}));
    entry.fd = server;
    INTERRUPTED(poll(&entry, 1, -1));
}

static void masks(int fd, int epfd) {
    sigset_t blocked, open, before;
    struct epoll_event event;
    struct pollfd entry = {fd, POLLIN, 0};
    sigemptyset(&open);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    INTERRUPTED(epoll_pwait(epfd, &event, 1, 1000, &open));
    INTERRUPTED(ppoll(&entry, 1, NULL, &open));
    // It waits already when the call begins.
    raise(SIGALRM);
    C(taken_signals());
    C(epoll_pwait(epfd, &event, 1, 1000, &open));
    V(taken_signals());
    raise(SIGALRM);
    C(ppoll(&entry, 1, NULL, &open));
    V(taken_signals());
    raise(SIGALRM);
    C(pselect(0, NULL, NULL, NULL, &(struct timespec){0, 1000000}, &open));
    V(taken_signals());
    // Blocked for the length of the call.
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    alarm_in(10);
    C(epoll_pwait(epfd, &event, 1, 40, &blocked));
    V(taken_signals());
    alarm_in(10);
    C(ppoll(&entry, 1, &(struct timespec){0, 40000000}, &blocked));
    V(taken_signals());
}

static void one_socket(int fd, int server) {
    struct timeval limit = {1, 0}, none = {0, 0};
    static char block[8192];
    INTERRUPTED(recv(fd, buffer, 10, 0));
    INTERRUPTED(read(fd, buffer, 10));
    INTERRUPTED(accept(server, NULL, NULL));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    INTERRUPTED(recv(fd, buffer, 10, 0));
    peer_send_text(1, "part");
    INTERRUPTED(recv(fd, buffer, 10, MSG_WAITALL));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none);
    while (send(fd, block, sizeof block, MSG_DONTWAIT) > 0)
        continue;
    INTERRUPTED(send(fd, buffer, 10, 0));
    INTERRUPTED(write(fd, buffer, 10));
}

static void connecting_to_nobody(void) {
    struct in_addr nobody = {peer_ip.s_addr ^ htonl(0x71)};
    struct sockaddr_in address = at(nobody, PEER_PORT);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    INTERRUPTED(connect(fd, (struct sockaddr *)&address, sizeof address));
    close(fd);
}

static void restarting(int fd, int server) {
    struct pollfd entry = {fd, POLLIN, 0};
    struct timeval limit = {1, 0};
    count_signals(SIGALRM, SA_RESTART);
    RESTARTED(recv(fd, buffer, 10, 0));
    RESTARTED(read(fd, buffer, 10));
    RESTARTED(recvfrom(fd, buffer, 10, 0, NULL, NULL));
    // These never go on.
    INTERRUPTED(poll(&entry, 1, -1));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    INTERRUPTED(recv(fd, buffer, 10, 0));
    setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    INTERRUPTED(accept(server, NULL, NULL));
    count_signals(SIGALRM, 0);
}

// The program's own view of its handlers.
static void handlers(void) {
    struct sigaction before, now;
    C(sigaction(SIGUSR1, NULL, &before));
    V(before.sa_handler == SIG_DFL);
    count_signals(SIGUSR1, SA_RESTART | SA_NODEFER);
    C(sigaction(SIGUSR1, NULL, &now));
    V((now.sa_flags & (SA_RESTART | SA_NODEFER | SA_SIGINFO)) == (SA_RESTART | SA_NODEFER));
    void (*handler)(int) = now.sa_handler;
    V(signal(SIGUSR1, SIG_IGN) == handler);
    V(signal(SIGUSR1, handler) == SIG_IGN);
    C(raise(SIGUSR1));
    V(taken_signals());
    C(sigaction(SIGUSR1, &before, &now));
    V(now.sa_handler == handler);
    count_signals(SIGUSR1, SA_RESETHAND);
    C(raise(SIGUSR1));
    V(taken_signals());
    C(sigaction(SIGUSR1, NULL, &now));
    V(now.sa_handler == SIG_DFL);
    C(sigaction(SIGKILL, &before, NULL));
    C(sigaction(99, NULL, &now));
    V(signal(SIGKILL, SIG_IGN) == SIG_ERR);
}

void interrupted(enum kind kind) {
    int server = listener(OTHER_PORT, 4), epfd = epoll_create1(0), fd = connection(kind);
    epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &(struct epoll_event){EPOLLIN, {.u64 = 1}});
    count_signals(SIGALRM, 0);
    waits(fd, server, epfd);
    masks(fd, epfd);
    restarting(fd, server);
    setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, 0}, sizeof(struct timeval));
    one_socket(fd, server);
    if (kind == ACTIVE)
        connecting_to_nobody();
    handlers();
    end(fd);
    close(server);
    close(epfd);
}

enum call { RECV, READ, RECVMSG, ACCEPT, POLL, EPOLL_WAIT, SELECT, SEND, CALLS };
static const char *const call_names[] = {"recv", "read", "recvmsg", "accept", "poll", "epoll_wait", "select", "send"};

struct victim {
    enum call call;
    int fd, server, epfd;
    int cleaned;
};

static void clean(void *victim) { ((struct victim *)victim)->cleaned = 1; }

static void *blocked(void *argument) {
    struct victim *victim = argument;
    struct pollfd entry = {victim->fd, POLLIN, 0};
    struct epoll_event event;
    struct iovec one = {buffer, 1};
    struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1};
    fd_set set;
    pthread_cleanup_push(clean, victim);
    switch (victim->call) {
    case RECV:
        recv(victim->fd, buffer, 1, 0);
        break;
    case READ:
        read(victim->fd, buffer, 1);
        break;
    case RECVMSG:
        recvmsg(victim->fd, &message, 0);
        break;
    case ACCEPT:
        accept(victim->server, NULL, NULL);
        break;
    case POLL:
        poll(&entry, 1, -1);
        break;
    case EPOLL_WAIT:
        epoll_wait(victim->epfd, &event, 1, -1);
        break;
    case SELECT:
        FD_ZERO(&set);
        FD_SET(victim->fd, &set);
        select(victim->fd + 1, &set, NULL, NULL, NULL);
        break;
    case SEND:
        for (;;)
            send(victim->fd, buffer, sizeof buffer, 0);
    case CALLS:
        break;
    }
    pthread_cleanup_pop(0);
    return NULL;
}

static void *holds_out(void *argument) {
    struct victim *victim = argument;
    int state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    long count = recv(victim->fd, buffer, 1, 0);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
    victim->cleaned = count == 1 ? 2 : 3;
    // Now it acts, though the data are there.
    recv(victim->fd, buffer, 1, 0);
    victim->cleaned = 4;
    return NULL;
}

void canceled(enum kind kind) {
    struct victim victim = {.fd = connection(kind), .server = listener(OTHER_PORT, 4), .epfd = epoll_create1(0)};
    pthread_t thread;
    void *result;
    epoll_ctl(victim.epfd, EPOLL_CTL_ADD, victim.fd, &(struct epoll_event){EPOLLIN, {.u64 = 1}});
    fcntl(victim.server, F_SETFL, O_NONBLOCK);
    C(accept(victim.server, NULL, NULL));
    fcntl(victim.server, F_SETFL, 0);
    // A thread that was canceled before it called anything.
    for (enum call call = RECV; call < CALLS; call++)
        for (int delay = 0; delay < 2; delay++) {
            victim.call = call;
            victim.cleaned = 0;
            pthread_create(&thread, NULL, blocked, &victim);
            if (delay)
                settle();
            pthread_cancel(thread);
            pthread_join(thread, &result);
            report_value(__LINE__, call_names[call], result == PTHREAD_CANCELED);
            V(victim.cleaned);
        }
    // The connection is whole afterwards.
    end(victim.fd);
    victim.fd = connection(kind);
    pthread_create(&thread, NULL, holds_out, &victim);
    settle();
    pthread_cancel(thread);
    settle();
    V(victim.cleaned == 1);
    peer_send_text(1, "ab");
    pthread_join(thread, &result);
    V(result == PTHREAD_CANCELED);
    V(victim.cleaned);
    C(recv(victim.fd, buffer, 10, MSG_DONTWAIT));
    end(victim.fd);
    close(victim.server);
    close(victim.epfd);
}
