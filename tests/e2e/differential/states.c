// How connections end: every order of shutdown, close and reset, and what
// each call says after each.
#include "script.h"

static char buffer[1 << 16];

// All that a program can ask of a socket in some state.
static void ask(int fd) {
    int error = -1;
    struct sockaddr_storage address;
    EVENTS(fd);
    C(recv(fd, buffer, 10, MSG_DONTWAIT));
    C(recv(fd, buffer, 10, MSG_DONTWAIT | MSG_PEEK));
    C(recv(fd, buffer, 10, MSG_DONTWAIT));
    C(send(fd, "s", 1, MSG_DONTWAIT));
    V(taken_signals());
    settle();
    EVENTS(fd);
    C(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error}));
    V(error);
    EVENTS(fd);
    C(send(fd, "s", 1, MSG_NOSIGNAL | MSG_DONTWAIT));
    C(recv(fd, buffer, 10, MSG_DONTWAIT));
    C(getpeername(fd, (struct sockaddr *)&address, &(socklen_t){sizeof address}));
    C(getsockname(fd, (struct sockaddr *)&address, &(socklen_t){sizeof address}));
    C(shutdown(fd, SHUT_RDWR));
    EVENTS(fd);
    C(recv(fd, buffer, 10, MSG_DONTWAIT));
    C(send(fd, "s", 1, MSG_NOSIGNAL | MSG_DONTWAIT));
    C(connect(fd, (struct sockaddr *)&(struct sockaddr_in){.sin_family = AF_INET}, 16));
}

static void shut(enum kind kind, int how) {
    int fd = connection(kind);
    C(shutdown(fd, how));
    settle();
    if (how != SHUT_RD)
        V(peer_drain(1));
    ask(fd);
    end(fd);
    fd = connection(kind);
    peer_send_text(1, "before");
    settle();
    C(shutdown(fd, how));
    EVENTS(fd);
    C(recv(fd, buffer, 3, MSG_DONTWAIT));
    peer_send_text(1, "after");
    settle();
    ask(fd);
    end(fd);
}

static void peer_shut(enum kind kind) {
    int fd = connection(kind);
    peer_send_text(1, "last");
    peer_shutdown(1, SHUT_WR);
    settle();
    EVENTS(fd);
    C(recv(fd, buffer, 10, MSG_DONTWAIT));
    C(recv(fd, buffer, 10, MSG_DONTWAIT));
    C(recv(fd, buffer, 10, 0));
    C(send(fd, "more", 4, 0));
    V(peer_receive(1, 4, 0) == -EBADMSG);
    ask(fd);
    end(fd);
}

static void peer_closed(enum kind kind) {
    int fd = connection(kind);
    peer_close(1);
    settle();
    ask(fd);
    close(fd);
}

static void peer_aborted(enum kind kind) {
    int fd = connection(kind);
    peer_reset(1);
    settle();
    ask(fd);
    close(fd);
    fd = connection(kind);
    peer_send_text(1, "unread");
    settle();
    peer_reset(1);
    settle();
    ask(fd);
    close(fd);
    fd = connection(kind);
    peer_reset(1);
    settle();
    C(send(fd, "s", 1, 0));
    V(taken_signals());
    C(send(fd, "s", 1, 0));
    V(taken_signals());
    C(recv(fd, buffer, 1, 0));
    close(fd);
    fd = connection(kind);
    peer_reset(1);
    settle();
    C(shutdown(fd, SHUT_WR));
    C(shutdown(fd, 77));
    C(getpeername(fd, (struct sockaddr *)buffer, &(socklen_t){sizeof buffer}));
    close(fd);
    // The error waits until after the end of the stream was read.
    fd = connection(kind);
    peer_shutdown(1, SHUT_WR);
    settle();
    C(recv(fd, buffer, 1, 0));
    peer_reset(1);
    settle();
    ask(fd);
    close(fd);
}

static void both_shut(enum kind kind) {
    int fd = connection(kind);
    C(shutdown(fd, SHUT_WR));
    C(shutdown(fd, SHUT_WR));
    settle();
    peer_shutdown(1, SHUT_WR);
    settle();
    ask(fd);
    end(fd);
}

// What the peer sees of a close.
static void closing(enum kind kind) {
    int fd = connection(kind);
    C(close(fd));
    V(peer_drain(1));
    peer_close(1);
    fd = connection(kind);
    C(send(fd, buffer, 50000, 0));
    C(close(fd));
    V(peer_drain(1));
    peer_close(1);
    fd = connection(kind);
    peer_send_text(1, "never read");
    settle();
    C(close(fd));
    V(peer_drain(1));
    peer_close(1);
    fd = connection(kind);
    C(setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger)));
    C(send(fd, "x", 1, 0));
    settle();
    C(close(fd));
    V(peer_drain(1));
    peer_close(1);
    fd = connection(kind);
    C(close(fd));
    settle();
    V(peer_send_text(1, "to nobody"));
    settle();
    V(peer_drain(1));
    peer_close(1);
}

static void lingering(enum kind kind) {
    // The peer has all of it: no wait.
    int fd = connection(kind);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 1}, sizeof(struct linger));
    C(send(fd, buffer, 1000, 0));
    long start = now_ms();
    C(close(fd));
    V(took(start, 0, 300));
    V(peer_drain(1));
    peer_close(1);
    // Its window is full: close waits as long as it may.
    fd = connection(kind);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 1}, sizeof(struct linger));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (send(fd, buffer, sizeof buffer, 0) > 0)
        continue;
    start = now_ms();
    C(close(fd));
    V(took(start, 950, 1400));
    V(peer_drain(1) > 50000);
    peer_close(1);
}

void states(enum kind kind) {
    shut(kind, SHUT_RD);
    shut(kind, SHUT_WR);
    shut(kind, SHUT_RDWR);
    peer_shut(kind);
    peer_closed(kind);
    peer_aborted(kind);
    both_shut(kind);
    closing(kind);
    lingering(kind);
}
