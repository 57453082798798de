// Sockets before they are connected: errors of unconnected ones, listen and
// accept, connect in all its states.
#include "script.h"

static char buffer[4096];

void unconnected(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), error = -1;
    socklen_t length = sizeof error;
    struct sockaddr_in own = at(own_ip, PORT);
    struct sockaddr_storage address;
    count_signals(SIGPIPE, 0);
    C(recv(fd, buffer, 1, 0));
    C(recv(fd, buffer, 1, MSG_DONTWAIT));
    C(read(fd, buffer, 1));
    C(send(fd, buffer, 1, MSG_NOSIGNAL));
    C(write(fd, buffer, 1));
    V(taken_signals());
    EVENTS(fd);
    C(shutdown(fd, SHUT_RDWR));
    C(getpeername(fd, (struct sockaddr *)&address, &(socklen_t){sizeof address}));
    C(getsockname(fd, (struct sockaddr *)&address, &(socklen_t){sizeof address}));
    C(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length));
    V(error);
    C(accept(fd, NULL, NULL));
    C(accept4(fd, NULL, NULL, 077));
    C(connect(fd, (struct sockaddr *)&own, 3));
    C(connect(fd, (struct sockaddr *)&own, -1));
    C(connect(fd, NULL, sizeof own));
    own.sin_family = AF_INET6;
    C(connect(fd, (struct sockaddr *)&own, sizeof own));
    own.sin_family = AF_UNIX;
    C(connect(fd, (struct sockaddr *)&own, sizeof own));
    own.sin_family = AF_UNSPEC;
    C(connect(fd, (struct sockaddr *)&own, sizeof own));
    C(bind(fd, (struct sockaddr *)&own, 3));
    own = at((struct in_addr){htonl(0x01020304)}, PORT);
    C(bind(fd, (struct sockaddr *)&own, sizeof own));
    C(close(fd));
    C(close(fd));
    C(recv(fd, buffer, 1, 0));
    C(connect(fd, (struct sockaddr *)&own, sizeof own));
    C(listen(fd, 1));
    C(accept(fd, NULL, NULL));
    C(shutdown(fd, SHUT_RD));
    C(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length));
    C(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &error, length));
    C(getsockname(fd, (struct sockaddr *)&address, &length));
    C(socket(AF_INET, SOCK_STREAM | 0x100, 0));
    C(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
    C(socket(AF_INET, 77, 0));
    C(socket(777, SOCK_STREAM, 0));
    C(recv(0x7fffffff, buffer, 1, 0));
    C(recv(-1, buffer, 1, 0));
    C(close(-1));
}

static void waiting_for_nobody(int fd) {
    struct timeval limit = {0, 40000};
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int epfd = epoll_create1(0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    C(accept(fd, NULL, NULL));
    C(accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
    C(accept4(fd, NULL, NULL, 077));
    fcntl(fd, F_SETFL, 0);
    EVENTS(fd);
    C(recv(fd, buffer, 1, 0));
    C(recv(fd, buffer, 1, MSG_DONTWAIT));
    C(send(fd, buffer, 1, MSG_NOSIGNAL));
    C(getsockname(fd, (struct sockaddr *)&address, &length));
    ADDRESS(&address, length);
    C(getpeername(fd, (struct sockaddr *)&address, &length));
    C(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &(struct epoll_event){EPOLLIN | EPOLLOUT | EPOLLRDHUP, {.u64 = 1}}));
    READY(epfd, 8);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    long start = now_ms();
    C(accept(fd, NULL, NULL));
    V(took(start, 28, 140));
    limit.tv_usec = 0;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    C(ioctl(fd, FIONREAD, &(int){0}));
    struct sockaddr_in peer = at(peer_ip, PEER_PORT);
    C(connect(fd, (struct sockaddr *)&peer, 3));
    C(connect(fd, (struct sockaddr *)&peer, sizeof peer));
    C(listen(fd, 7));
    C(listen(fd, -1));
    C(listen(fd, 0));
    C(listen(fd, 64));
    C(bind(fd, (struct sockaddr *)&peer, sizeof peer));
    close(epfd);
}

static void accepting(int fd) {
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    int one, two, three, epfd = epoll_create1(0);
    epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &(struct epoll_event){EPOLLIN | EPOLLET, {.u64 = 5}});
    READY(epfd, 8);
    V(peer_connect(1, PORT));
    V(peer_connect(2, PORT));
    V(peer_connect(3, PORT));
    settle();
    EVENTS(fd);
    READY(epfd, 8);
    READY(epfd, 8);
    F(one = accept(fd, (struct sockaddr *)&address, &length));
    ADDRESS(&address, length);
    C(fcntl(one, F_GETFL));
    C(fcntl(one, F_GETFD));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    F(two = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
    C(fcntl(two, F_GETFL));
    C(fcntl(two, F_GETFD));
    length = 5;
    memset(&address, 0, sizeof address);
    F(three = accept(fd, (struct sockaddr *)&address, &length));
    V(length);
    BYTES((char *)&address + 4, 4);
    C(fcntl(three, F_GETFL));
    C(accept(fd, NULL, NULL));
    EVENTS(fd);
    length = sizeof address;
    C(getpeername(three, (struct sockaddr *)&address, &length));
    ADDRESS(&address, length);
    length = sizeof address;
    C(getsockname(three, (struct sockaddr *)&address, &length));
    ADDRESS(&address, length);
    peer_send_text(2, "to two");
    settle();
    C(recv(two, buffer, sizeof buffer, 0));
    BYTES(buffer, 6);
    C(accept(two, NULL, NULL));
    C(listen(two, 3));
    fcntl(fd, F_SETFL, 0);
    close(one);
    close(two);
    close(three);
    for (int slot = 1; slot <= 3; slot++)
        peer_close(slot);
    close(epfd);
}

static void bad_pointers(int fd) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    C(accept(fd, (struct sockaddr *)&address, NULL));
    peer_connect(1, PORT);
    settle();
    C(accept(fd, (struct sockaddr *)-4096, &length));
    C(accept(fd, NULL, NULL));
    peer_connect(2, PORT);
    settle();
    length = (socklen_t)-1;
    C(accept(fd, (struct sockaddr *)&address, &length));
    C(accept(fd, NULL, NULL));
    fcntl(fd, F_SETFL, 0);
    peer_close(1);
    peer_close(2);
}

// What became of connections before anybody accepted them.
static void late(int fd) {
    int one, error = -1;
    socklen_t length = sizeof error;
    struct sockaddr_storage address;
    peer_connect(1, PORT);
    peer_send_text(1, "early");
    peer_close(1);
    settle();
    F(one = accept(fd, NULL, NULL));
    EVENTS(one);
    C(recv(one, buffer, sizeof buffer, 0));
    C(recv(one, buffer, sizeof buffer, 0));
    close(one);
    peer_connect(1, PORT);
    peer_reset(1);
    settle();
    EVENTS(fd);
    F(one = accept(fd, (struct sockaddr *)&address, &(socklen_t){sizeof address}));
    EVENTS(one);
    C(getpeername(one, (struct sockaddr *)&address, &(socklen_t){sizeof address}));
    C(getsockopt(one, SOL_SOCKET, SO_ERROR, &error, &length));
    V(error);
    C(recv(one, buffer, sizeof buffer, 0));
    C(recv(one, buffer, sizeof buffer, 0));
    close(one);
}

static void many_numbers(int fd) {
    int other = dup(fd), one, epfd = epoll_create1(0);
    epoll_ctl(epfd, EPOLL_CTL_ADD, other, &(struct epoll_event){EPOLLIN, {.u64 = 6}});
    peer_connect(1, PORT);
    settle();
    READY(epfd, 8);
    C(close(fd));
    READY(epfd, 8);
    F(one = accept(other, NULL, NULL));
    READY(epfd, 8);
    close(one);
    peer_close(1);
    C(close(other));
    settle();
    READY(epfd, 8);
    V(peer_connect(1, PORT));
    peer_close(1);
    close(epfd);
}

static void ended(void) {
    int fd = listener(PORT, 8), one, epfd = epoll_create1(0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    C(accept(fd, NULL, NULL));
    epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &(struct epoll_event){EPOLLIN, {.u64 = 7}});
    C(shutdown(fd, SHUT_RDWR));
    EVENTS(fd);
    READY(epfd, 8);
    C(accept(fd, NULL, NULL));
    settle();
    V(peer_connect(1, PORT));
    peer_close(1);
    C(listen(fd, 8));
    V(peer_connect(1, PORT));
    settle();
    READY(epfd, 8);
    F(one = accept(fd, NULL, NULL));
    peer_send_text(1, "again");
    settle();
    C(recv(one, buffer, sizeof buffer, MSG_DONTWAIT));
    close(one);
    peer_close(1);
    // A disconnect(2 connect) ends the listening as well.
    C(connect(fd, (struct sockaddr *)&(struct sockaddr){.sa_family = AF_UNSPEC}, sizeof(struct sockaddr)));
    settle();
    V(peer_connect(1, PORT));
    peer_close(1);
    EVENTS(fd);
    READY(epfd, 8);
    C(listen(fd, 8));
    C(listen(fd, 9));
    READY(epfd, 8);
    close(fd);
    settle();
    V(peer_connect(1, PORT));
    peer_close(1);
    close(epfd);
}

// listen(2) on a socket without a port takes one; the policy knows none.
static void without_bind(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_storage address;
    C(listen(fd, 1));
    C(getsockname(fd, (struct sockaddr *)&address, &(socklen_t){sizeof address}));
    V(((struct sockaddr_in *)&address)->sin_port != 0);
    close(fd);
    F(fd = socket(AF_INET, SOCK_DGRAM, 0));
    C(listen(fd, 1));
    C(accept(fd, NULL, NULL));
    close(fd);
}

static void occupied(void) {
    int one = listener(PORT, 1), two = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in own = at(own_ip, PORT);
    C(bind(two, (struct sockaddr *)&own, sizeof own));
    close(two);
    close(one);
}

void listeners(void) {
    int fd = listener(PORT, 64);
    waiting_for_nobody(fd);
    accepting(fd);
    bad_pointers(fd);
    late(fd);
    many_numbers(fd);
    ended();
    without_bind();
    occupied();
}

static int error_of(int fd) {
    int error = -1;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error});
    return error;
}

static void refused(void) {
    struct sockaddr_in closed = at(peer_ip, CLOSED_PORT), peer = at(peer_ip, PEER_PORT);
    int fd = socket(AF_INET, SOCK_STREAM, 0), epfd = epoll_create1(0);
    C(connect(fd, (struct sockaddr *)&closed, sizeof closed));
    V(error_of(fd));
    EVENTS(fd);
    C(recv(fd, buffer, 1, 0));
    C(send(fd, buffer, 1, MSG_NOSIGNAL));
    C(connect(fd, (struct sockaddr *)&closed, sizeof closed));
    C(connect(fd, (struct sockaddr *)&peer, sizeof peer));
    peer_accept(0, 1);
    C(send(fd, "x", 1, 0));
    end(fd);

    F(fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &(struct epoll_event){EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, {.u64 = 1}});
    READY(epfd, 8);
    C(connect(fd, (struct sockaddr *)&closed, sizeof closed));
    settle();
    READY(epfd, 8);
    READY(epfd, 8);
    EVENTS(fd);
    C(send(fd, buffer, 1, MSG_NOSIGNAL));
    V(error_of(fd));
    EVENTS(fd);
    C(send(fd, buffer, 1, MSG_NOSIGNAL));
    C(recv(fd, buffer, 1, 0));
    C(connect(fd, (struct sockaddr *)&closed, sizeof closed));
    settle();
    EVENTS(fd);
    C(recv(fd, buffer, 1, 0));
    C(recv(fd, buffer, 1, 0));
    C(connect(fd, (struct sockaddr *)&closed, sizeof closed));
    settle();
    C(connect(fd, (struct sockaddr *)&peer, sizeof peer));
    C(connect(fd, (struct sockaddr *)&peer, sizeof peer));
    settle();
    peer_accept(0, 1);
    C(connect(fd, (struct sockaddr *)&peer, sizeof peer));
    C(connect(fd, (struct sockaddr *)&peer, sizeof peer));
    EVENTS(fd);
    end(fd);
    close(epfd);
}

static void without_waiting(void) {
    struct sockaddr_in peer = at(peer_ip, PEER_PORT);
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int fd, epfd = epoll_create1(0);
    F(fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    C(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &(struct epoll_event){EPOLLOUT | EPOLLET, {.u64 = 2}}));
    READY(epfd, 8);
    C(connect(fd, (struct sockaddr *)&peer, sizeof peer));
    settle();
    peer_accept(0, 1);
    READY(epfd, 8);
    READY(epfd, 8);
    V(error_of(fd));
    EVENTS(fd);
    C(getsockname(fd, (struct sockaddr *)&address, &length));
    ADDRESS(&address, length);
    C(getpeername(fd, (struct sockaddr *)&address, &length));
    ADDRESS(&address, length);
    C(connect(fd, (struct sockaddr *)&peer, sizeof peer));
    C(connect(fd, (struct sockaddr *)&peer, sizeof peer));
    C(connect(fd, (struct sockaddr *)&peer, 3));
    C(listen(fd, 5));
    C(accept(fd, NULL, NULL));
    peer.sin_family = AF_UNSPEC;
    C(connect(fd, (struct sockaddr *)&peer, sizeof peer));
    C(getpeername(fd, (struct sockaddr *)&address, &length));
    V(peer_drain(1));
    peer_close(1);
    peer = at(peer_ip, PEER_PORT);
    fcntl(fd, F_SETFL, 0);
    C(connect(fd, (struct sockaddr *)&peer, sizeof peer));
    peer_accept(0, 1);
    C(send(fd, "y", 1, 0));
    V(peer_receive(1, 1, 0) != 0);
    end(fd);
    close(epfd);
}

// A destination that nobody answers for.
static void nowhere(void) {
    struct in_addr nobody = {peer_ip.s_addr ^ htonl(0x70)};
    struct sockaddr_in address = at(nobody, PEER_PORT);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    C(connect(fd, (struct sockaddr *)&address, sizeof address));
    EVENTS(fd);
    C(connect(fd, (struct sockaddr *)&address, sizeof address));
    C(send(fd, buffer, 1, MSG_NOSIGNAL));
    C(recv(fd, buffer, 1, 0));
    C(getpeername(fd, (struct sockaddr *)&(struct sockaddr_in){0}, &(socklen_t){16}));
    C(shutdown(fd, SHUT_WR));
    close(fd);
    F(fd = socket(AF_INET, SOCK_STREAM, 0));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){0, 50000}, sizeof(struct timeval));
    long start = now_ms();
    C(connect(fd, (struct sockaddr *)&address, sizeof address));
    V(took(start, 38, 150));
    C(connect(fd, (struct sockaddr *)&address, sizeof address));
    close(fd);
    F(fd = socket(AF_INET, SOCK_STREAM, 0));
    address = at((struct in_addr){htonl(0x08080808)}, PEER_PORT);
    C(connect(fd, (struct sockaddr *)&address, sizeof address));
    V(error_of(fd));
    close(fd);
}

static void from_a_port(void) {
    struct sockaddr_in peer = at(peer_ip, PEER_PORT), own = at(own_ip, 7150);
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int fd, other, on = 1;
    F(fd = socket(AF_INET, SOCK_STREAM, 0));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    C(bind(fd, (struct sockaddr *)&own, sizeof own));
    C(connect(fd, (struct sockaddr *)&peer, sizeof peer));
    peer_accept(0, 1);
    C(getsockname(fd, (struct sockaddr *)&address, &length));
    V(ntohs(((struct sockaddr_in *)&address)->sin_port));
    C(bind(fd, (struct sockaddr *)&own, sizeof own));
    F(other = socket(AF_INET, SOCK_STREAM, 0));
    setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    C(bind(other, (struct sockaddr *)&own, sizeof own));
    C(connect(other, (struct sockaddr *)&peer, sizeof peer));
    close(other);
    peer_reset(1);
    settle();
    close(fd);
    own.sin_port = 0;
    F(fd = socket(AF_INET, SOCK_STREAM, 0));
    C(bind(fd, (struct sockaddr *)&own, sizeof own));
    C(connect(fd, (struct sockaddr *)&peer, sizeof peer));
    peer_accept(0, 1);
    end(fd);
}

// An AF_INET6 socket to an IPv4-mapped address.
static void mapped(void) {
    struct sockaddr_in6 peer = {.sin6_family = AF_INET6, .sin6_port = htons(PEER_PORT)};
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int fd, value = -1;
    peer.sin6_addr.s6_addr[10] = peer.sin6_addr.s6_addr[11] = 0xff;
    memcpy(&peer.sin6_addr.s6_addr[12], &peer_ip, 4);
    F(fd = socket(AF_INET6, SOCK_STREAM, 0));
    C(connect(fd, (struct sockaddr *)&peer, sizeof peer));
    peer_accept(0, 1);
    C(getpeername(fd, (struct sockaddr *)&address, &length));
    ADDRESS(&address, length);
    C(getsockname(fd, (struct sockaddr *)&address, &length));
    ADDRESS(&address, length);
    C(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &(socklen_t){4}));
    V(value);
    C(getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &value, &(socklen_t){4}));
    V(value);
    C(getsockopt(fd, IPPROTO_IP, IP_TOS, &value, &(socklen_t){4}));
    V(value);
    C(getsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &value, &(socklen_t){4}));
    V(value);
    C(getsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &value, &(socklen_t){4}));
    V(value);
    C(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, 4));
    length = 7;
    C(getpeername(fd, (struct sockaddr *)&address, &length));
    V(length);
    end(fd);
}

void connecting(void) {
    refused();
    without_waiting();
    nowhere();
    from_a_port();
    mapped();
}
