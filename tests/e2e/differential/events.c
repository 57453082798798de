// epoll(7), poll(2) and select(2).
#include "script.h"

static char buffer[1 << 16];

static int add(int epfd, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = {events, {.u64 = data}};
    return epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
}

static int modify(int epfd, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = {events, {.u64 = data}};
    return epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event);
}

static void refusals(int fd) {
    int epfd = epoll_create1(0), file = open("/etc/passwd", O_RDONLY);
    struct epoll_event events[4];
    C(epoll_create(0));
    C(epoll_create1(77));
    C(modify(epfd, fd, EPOLLIN, 1));
    C(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL));
    C(add(fd, epfd, EPOLLIN, 1));
    C(add(fd, fd, EPOLLIN, 1));
    C(add(-1, fd, EPOLLIN, 1));
    C(add(file, fd, EPOLLIN, 1));
    C(add(epfd, -1, EPOLLIN, 1));
    C(add(epfd, epfd, EPOLLIN, 1));
    C(add(epfd, file, EPOLLIN, 1));
    C(epoll_ctl(epfd, 77, fd, events));
    C(add(epfd, fd, EPOLLIN, 1));
    C(add(epfd, fd, EPOLLIN, 1));
    C(epoll_ctl(epfd, 77, fd, events));
    C(epoll_wait(epfd, events, 0, 0));
    C(epoll_wait(epfd, events, -1, 0));
    C(epoll_wait(fd, events, 1, 0));
    C(epoll_wait(-1, events, 1, 0));
    C(epoll_wait(file, events, 1, 0));
    C(epoll_pwait(epfd, events, 1, 0, NULL));
    C(epoll_pwait2(epfd, events, 1, &(struct timespec){0, 1000000}, NULL));
    C(epoll_pwait2(epfd, events, 1, &(struct timespec){0, 1000000000}, NULL));
    C(epoll_pwait2(epfd, events, 1, &(struct timespec){-1, 0}, NULL));
    C(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL));
    C(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL));
    C(add(epfd, fd, EPOLLIN | EPOLLEXCLUSIVE, 1));
    C(modify(epfd, fd, EPOLLIN, 1));
    C(modify(epfd, fd, EPOLLIN | EPOLLEXCLUSIVE, 1));
    C(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL));
    C(add(epfd, fd, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT, 1));
    C(add(epfd, fd, EPOLLIN, 1));
    C(modify(epfd, fd, EPOLLIN | EPOLLEXCLUSIVE, 1));
    C(read(epfd, buffer, 1));
    C(write(epfd, buffer, 1));
    C(recv(epfd, buffer, 1, 0));
    close(file);
    close(epfd);
}

static void level_and_edge(int fd) {
    int level = epoll_create1(0), edge = epoll_create1(0), once = epoll_create1(0);
    C(add(level, fd, EPOLLIN | EPOLLRDHUP, 1));
    C(add(edge, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, 2));
    C(add(once, fd, EPOLLIN | EPOLLOUT | EPOLLONESHOT, 3));
    READY(level, 8);
    READY(edge, 8);
    READY(edge, 8);
    READY(once, 8);
    READY(once, 8);
    peer_send_text(1, "one");
    settle();
    READY(level, 8);
    READY(level, 8);
    READY(edge, 8);
    READY(edge, 8);
    READY(once, 8);
    C(modify(once, fd, EPOLLIN | EPOLLONESHOT, 4));
    READY(once, 8);
    READY(once, 8);
    C(modify(edge, fd, EPOLLIN | EPOLLET, 5));
    READY(edge, 8);
    READY(edge, 8);
    peer_send_text(1, "two");
    settle();
    READY(edge, 8);
    READY(once, 8);
    C(recv(fd, buffer, 2, 0));
    READY(level, 8);
    READY(edge, 8);
    C(recv(fd, buffer, 100, 0));
    READY(level, 8);
    READY(edge, 8);
    C(modify(level, fd, EPOLLOUT, 6));
    READY(level, 8);
    C(modify(level, fd, 0, 7));
    READY(level, 8);
    peer_shutdown(1, SHUT_WR);
    settle();
    READY(level, 8);
    READY(edge, 8);
    C(modify(level, fd, EPOLLIN | EPOLLRDHUP | EPOLLRDNORM, 8));
    READY(level, 8);
    C(modify(once, fd, EPOLLRDHUP | EPOLLONESHOT | EPOLLET, 9));
    READY(once, 8);
    READY(once, 8);
    C(shutdown(fd, SHUT_WR));
    settle();
    READY(level, 8);
    READY(edge, 8);
    READY(edge, 8);
    READY(once, 8);
    C(modify(once, fd, EPOLLONESHOT, 10));
    READY(once, 8);
    READY(once, 8);
    close(level);
    close(edge);
    close(once);
}

static void errors(enum kind kind) {
    int fd = connection(kind), epfd = epoll_create1(0), edge = epoll_create1(0);
    add(epfd, fd, EPOLLOUT, 1);
    add(edge, fd, EPOLLIN | EPOLLET, 2);
    READY(edge, 8);
    peer_reset(1);
    settle();
    READY(epfd, 8);
    READY(edge, 8);
    READY(edge, 8);
    C(modify(epfd, fd, 0, 3));
    READY(epfd, 8);
    C(recv(fd, buffer, 1, 0));
    READY(epfd, 8);
    close(fd);
    READY(epfd, 8);
    close(epfd);
    close(edge);
}

// Room for writing again after the buffer was full.
static void writable(enum kind kind) {
    int fd = connection(kind), level = epoll_create1(0), edge = epoll_create1(0);
    struct epoll_event event;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    add(level, fd, EPOLLOUT, 1);
    add(edge, fd, EPOLLOUT | EPOLLET, 2);
    READY(level, 8);
    READY(edge, 8);
    while (write(fd, buffer, sizeof buffer) > 0)
        continue;
    READY(level, 8);
    READY(edge, 8);
    shutdown(fd, SHUT_WR);
    V(peer_drain(1) > 65536);
    settle();
    C(epoll_wait(edge, &event, 1, 100));
    READY(edge, 8);
    READY(level, 8);
    end(fd);
    close(level);
    close(edge);
}

static void numbers(enum kind kind) {
    int fd = connection(kind), other = dup(fd), epfd = epoll_create1(0), twin = dup(epfd);
    C(add(epfd, fd, EPOLLIN, 1));
    C(add(epfd, other, EPOLLIN, 2));
    peer_send_text(1, "x");
    settle();
    READY(epfd, 8);
    READY(twin, 1);
    READY(twin, 1);
    close(other);
    READY(epfd, 8);
    close(fd);
    READY(epfd, 8);
    peer_close(1);
    fd = connection(kind);
    C(add(twin, fd, EPOLLOUT, 3));
    READY(epfd, 8);
    close(epfd);
    READY(twin, 8);
    end(fd);
    READY(twin, 8);
    close(twin);
}

// More is ready than there is room for: they take turns.
static void turns(void) {
    int server = listener(OTHER_PORT, 8), fds[5], epfd = epoll_create1(0);
    for (int i = 0; i < 5; i++) {
        peer_connect(2 + i, OTHER_PORT);
        fds[i] = accept(server, NULL, NULL);
        add(epfd, fds[i], EPOLLIN, i);
    }
    int order[] = {3, 1, 4, 0, 2};
    for (int i = 0; i < 5; i++) {
        peer_send_text(2 + order[i], "x");
        settle();
        // One round each, so that the order is that of arrival.
        recv(fds[order[i]], buffer, 1, MSG_PEEK | MSG_DONTWAIT);
    }
    READY(epfd, 8);
    READY(epfd, 2);
    READY(epfd, 2);
    READY(epfd, 2);
    READY(epfd, 8);
    recv(fds[4], buffer, 1, 0);
    READY(epfd, 8);
    for (int i = 0; i < 5; i++) {
        close(fds[i]);
        peer_close(2 + i);
    }
    close(server);
    close(epfd);
}

// Descriptors of the kernel beside a connection.
static void mixed(int fd) {
    int epfd = epoll_create1(0), pipes[2];
    struct epoll_event event;
    C(pipe(pipes));
    C(add(epfd, pipes[0], EPOLLIN, 1));
    C(add(epfd, fd, EPOLLIN, 2));
    READY(epfd, 8);
    C(write(pipes[1], "p", 1));
    READY(epfd, 8);
    peer_send_text(1, "s");
    settle();
    int seen = 0;
    for (int i = 0; i < 64; i++)
        if (epoll_wait(epfd, &event, 1, 0) == 1)
            seen |= (int)event.data.u64;
    V(seen);
    C(recv(fd, buffer, 1, 0));
    C(read(pipes[0], buffer, 1));
    READY(epfd, 8);
    long start = now_ms();
    C(epoll_wait(epfd, &event, 1, 30));
    V(took(start, 29, 120));
    start = now_ms();
    C(epoll_pwait2(epfd, &event, 1, &(struct timespec){0, 2500000}, NULL));
    V(took(start, 2, 100));
    close(pipes[0]);
    close(pipes[1]);
    close(epfd);
}

// A set inside a set, and a set in poll(2) and select(2).
static void nested(int fd) {
    int inner = epoll_create1(0), outer = epoll_create1(0), epfd;
    C(add(inner, fd, EPOLLIN, 1));
    C(add(outer, inner, EPOLLIN, 2));
    C(add(inner, outer, EPOLLIN, 3));
    READY(outer, 8);
    EVENTS(inner);
    peer_send_text(1, "n");
    settle();
    READY(outer, 8);
    READY(outer, 8);
    EVENTS(inner);
    EVENTS(outer);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(inner, &set);
    C(select(inner + 1, &set, NULL, NULL, &(struct timeval){0, 0}));
    READY(inner, 8);
    C(recv(fd, buffer, 1, 0));
    READY(outer, 8);
    EVENTS(inner);
    EVENTS(outer);
    F(epfd = epoll_create1(EPOLL_CLOEXEC));
    C(fcntl(epfd, F_GETFD));
    C(add(epfd, inner, EPOLLIN | EPOLLET, 4));
    READY(epfd, 8);
    peer_send_text(1, "n");
    struct epoll_event event;
    C(epoll_wait(epfd, &event, 1, 1000));
    READY(epfd, 8);
    C(recv(fd, buffer, 1, 0));
    close(inner);
    READY(outer, 8);
    close(outer);
    close(epfd);
}

void event_sets(enum kind kind) {
    int fd = connection(kind);
    refusals(fd);
    mixed(fd);
    level_and_edge(fd);
    end(fd);
    errors(kind);
    writable(kind);
    numbers(kind);
    if (kind == PASSIVE)
        turns();
    fd = connection(kind);
    nested(fd);
    end(fd);
}

static void polling(int fd) {
    struct pollfd fds[4] = {{fd, POLLIN, 9}, {-1, POLLIN, 9}, {fd, POLLOUT, 9}, {fd, 0, 9}};
    struct timespec limit = {0, 20000000};
    C(poll(fds, 1, 0));
    V(fds[0].revents);
    long start = now_ms();
    C(poll(fds, 2, 25));
    V(took(start, 25, 120));
    C(poll(fds, 4, -1));
    for (int i = 0; i < 4; i++)
        V(fds[i].revents);
    C(ppoll(fds, 1, &limit, NULL));
    V(limit.tv_nsec);
    C(ppoll(fds, 1, &(struct timespec){0, 1000000000}, NULL));
    C(ppoll(fds, 1, &(struct timespec){-1, 0}, NULL));
    peer_send_text(1, "p");
    C(poll(fds, 4, 1000));
    settle();
    C(poll(fds, 4, 1000));
    for (int i = 0; i < 4; i++)
        V(fds[i].revents);
    fds[1] = (struct pollfd){9999, POLLIN, 9};
    C(poll(fds, 4, 1000));
    V(fds[1].revents);
    C(poll(fds, 0, 5));
    C(poll(fds, (nfds_t)-1, 0));
    C(recv(fd, buffer, 1, 0));
}

static void selecting(int fd) {
    fd_set in, out, except;
    struct timeval limit = {0, 20000};
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_ZERO(&except);
    FD_SET(fd, &in);
    FD_SET(fd, &except);
    long start = now_ms();
    C(select(fd + 1, &in, NULL, &except, &limit));
    V(took(start, 19, 120));
    V(FD_ISSET(fd, &in));
    V(FD_ISSET(fd, &except));
    V(limit.tv_sec);
    V(limit.tv_usec);
    FD_SET(fd, &in);
    FD_SET(fd, &out);
    C(select(fd + 1, &in, &out, NULL, NULL));
    V(FD_ISSET(fd, &in));
    V(FD_ISSET(fd, &out));
    peer_send_text(1, "s");
    settle();
    FD_SET(fd, &in);
    FD_SET(fd, &except);
    limit = (struct timeval){5, 0};
    C(select(fd + 1, &in, &out, &except, &limit));
    V(FD_ISSET(fd, &in));
    V(FD_ISSET(fd, &out));
    V(FD_ISSET(fd, &except));
    V(limit.tv_sec);
    FD_SET(fd, &in);
    C(pselect(fd + 1, &in, NULL, NULL, &(struct timespec){0, 0}, NULL));
    FD_ZERO(&in);
    FD_SET(fd, &in);
    FD_SET(63, &in);
    C(select(64, &in, NULL, NULL, &(struct timeval){0, 0}));
    V(FD_ISSET(fd, &in));
    C(select(-1, &in, NULL, NULL, &(struct timeval){0, 0}));
    C(select(fd + 1, &in, NULL, NULL, &(struct timeval){-1, 0}));
    C(select(fd + 1, &in, NULL, NULL, &(struct timeval){0, -1}));
    C(recv(fd, buffer, 1, 0));
}

void waiting(enum kind kind) {
    int fd = connection(kind);
    polling(fd);
    selecting(fd);
    end(fd);
}
