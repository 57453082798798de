// Reading and writing: every call, its flags, its edge cases.
#include "script.h"

static char buffer[1 << 16];

static void receiving_one_buffer(int fd) {
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    C(recv(fd, buffer, 10, MSG_DONTWAIT));
    C(recv(fd, buffer, 0, MSG_DONTWAIT));
    C(read(fd, buffer, 0));
    C(recvfrom(fd, buffer, 10, MSG_DONTWAIT, NULL, NULL));
    peer_send_text(1, "abcdefghijklmnopqrstuvwxyz");
    settle();
    C(recv(fd, buffer, 0, 0));
    C(recv(fd, buffer, 4, MSG_PEEK));
    BYTES(buffer, 4);
    C(recv(fd, buffer, 4, MSG_PEEK | MSG_DONTWAIT));
    C(recv(fd, buffer, 4, 0));
    BYTES(buffer, 4);
    C(read(fd, buffer, 3));
    BYTES(buffer, 3);
    C(recvfrom(fd, buffer, 2, 0, (struct sockaddr *)&address, &length));
    BYTES(buffer, 2);
    V(length);
    V(address.ss_family);
    C(recv(fd, NULL, 5, MSG_TRUNC));
    C(recv(fd, buffer, 5, MSG_TRUNC | MSG_PEEK));
    BYTES(buffer, 5);
    C(recv(fd, buffer, 2, MSG_NOSIGNAL));
    C(recv(fd, buffer, 2, MSG_CMSG_CLOEXEC));
    C(recv(fd, buffer, 1, MSG_OOB));
    C(recv(fd, buffer, 1, MSG_ERRQUEUE));
    C(recv(fd, buffer, 100, MSG_DONTWAIT));
    BYTES(buffer, 8);
    C(recv(fd, buffer, 100, MSG_DONTWAIT));
    C(recv(fd, buffer, 100, MSG_DONTWAIT | MSG_PEEK));
    C(recv(fd, buffer, 100, MSG_DONTWAIT | MSG_WAITALL));
}

static void receiving_all(int fd) {
    peer_send(1, 1000);
    C(recv(fd, buffer, 1000, MSG_WAITALL));
    V(memcmp(buffer, buffer, 1000));
    peer_send(1, 100);
    settle();
    C(recv(fd, buffer, 1000, MSG_WAITALL | MSG_DONTWAIT));
    peer_send(1, 100);
    settle();
    C(recv(fd, buffer, 200, MSG_WAITALL | MSG_PEEK | MSG_DONTWAIT));
    C(recv(fd, buffer, 50, MSG_WAITALL | MSG_PEEK));
    C(recv(fd, buffer, 100, MSG_WAITALL));
    struct timeval limit = {0, 50000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    peer_send(1, 30);
    C(recv(fd, buffer, 100, MSG_WAITALL));
    long start = now_ms();
    C(recv(fd, buffer, 100, MSG_WAITALL));
    V(took(start, 38, 150));
    start = now_ms();
    C(read(fd, buffer, 100));
    V(took(start, 38, 150));
    limit.tv_usec = 0;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

static void receiving_vectors(int fd) {
    static struct iovec many[1025];
    struct iovec three[3] = {{buffer, 3}, {buffer + 10, 0}, {buffer + 20, 4}};
    fcntl(fd, F_SETFL, O_NONBLOCK);
    C(readv(fd, three, 3));
    C(readv(fd, three, 0));
    C(readv(fd, three, -1));
    C(readv(fd, many, 1025));
    C(readv(fd, many, 1024));
    C(readv(fd, NULL, 0));
    C(readv(fd, NULL, 1));
    peer_send_text(1, "0123456789");
    settle();
    C(readv(fd, three, 3));
    BYTES(buffer, 3);
    BYTES(buffer + 20, 4);
    C(readv(fd, many, 2));
    C(readv(fd, three, 3));
    C(readv(fd, three, 3));
    fcntl(fd, F_SETFL, 0);
}

static void receiving_at_offsets(int fd) {
    struct iovec one = {buffer, 4};
    fcntl(fd, F_SETFL, O_NONBLOCK);
    C(pread(fd, buffer, 4, 0));
    C(pread(fd, buffer, 4, -1));
    C(pread64(fd, buffer, 4, 7));
    C(preadv(fd, &one, 1, 0));
    C(preadv64(fd, &one, 1, 0));
    C(preadv2(fd, &one, 1, 0, 0));
    C(preadv2(fd, &one, 1, -1, 0));
    C(preadv2(fd, &one, 1, -1, RWF_NOWAIT));
    C(preadv2(fd, &one, 1, -1, 0x40000000));
    C(preadv2(fd, &one, -1, -1, 0));
    C(lseek(fd, 0, SEEK_CUR));
    C(lseek(fd, 0, SEEK_SET));
    peer_send_text(1, "offsets");
    settle();
    C(preadv2(fd, &one, 1, -1, 0));
    BYTES(buffer, 4);
    C(preadv2(fd, &one, 1, -1, RWF_NOWAIT));
    BYTES(buffer, 3);
    fcntl(fd, F_SETFL, 0);
    C(preadv2(fd, &one, 1, -1, RWF_NOWAIT));
}

void receiving(enum kind kind) {
    int fd = connection(kind);
    receiving_one_buffer(fd);
    receiving_all(fd);
    receiving_vectors(fd);
    receiving_at_offsets(fd);
    end(fd);
}

// Fills a socket's send buffer; whether it ended with EAGAIN. Until a pause brings
// no more room: buffers grow, and acknowledgements may be late.
static int fill(int fd) {
    static char block[8192];
    for (int turn = 0, took = 1; turn < 30 && took; turn++) {
        for (took = 0; send(fd, block, sizeof block, MSG_DONTWAIT) > 0; took++)
            continue;
        usleep(60000);
    }
    return errno == EAGAIN;
}

static void sending_bytes(int fd) {
    struct iovec three[3] = {{buffer, 3}, {NULL, 0}, {buffer + 3, 4}};
    struct sockaddr_in nowhere = at(peer_ip, CLOSED_PORT);
    static struct iovec many[1025];
    for (long i = 0; i < (long)sizeof buffer; i++)
        buffer[i] = (char)pattern(i);
    C(send(fd, buffer, 10, 0));
    V(peer_receive(1, 10, 0));
    C(write(fd, buffer, 10));
    V(peer_receive(1, 10, 0));
    C(send(fd, buffer, 0, 0));
    C(write(fd, buffer, 0));
    C(write(fd, NULL, 0));
    C(send(fd, buffer, 5, MSG_MORE));
    C(send(fd, buffer + 5, 5, 0));
    V(peer_receive(1, 10, 0));
    C(send(fd, buffer, 10, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_EOR));
    V(peer_receive(1, 10, 0));
    C(sendto(fd, buffer, 10, 0, NULL, 0));
    V(peer_receive(1, 10, 0));
    C(sendto(fd, buffer, 10, 0, (struct sockaddr *)&nowhere, sizeof nowhere));
    V(peer_receive(1, 10, 0));
    C(sendto(fd, buffer, 10, 0, (struct sockaddr *)&nowhere, 3));
    V(peer_receive(1, 10, 0));
    C(writev(fd, three, 3));
    V(peer_receive(1, 7, 0));
    C(writev(fd, three, 0));
    C(writev(fd, three, -1));
    C(writev(fd, many, 1025));
    C(writev(fd, many, 1024));
    C(writev(fd, NULL, 1));
    C(send(fd, buffer, 60000, 0));
    V(peer_receive(1, 60000, 0));
    C(pwrite(fd, buffer, 4, 0));
    C(pwrite(fd, buffer, 4, -1));
    C(pwrite64(fd, buffer, 4, 0));
    C(pwritev(fd, three, 3, 0));
    C(pwritev64(fd, three, 3, 0));
    C(pwritev2(fd, three, 3, 0, 0));
    C(pwritev2(fd, three, 3, -1, 0));
    V(peer_receive(1, 7, 0));
    C(pwritev2(fd, three, 3, -1, RWF_NOWAIT));
    V(peer_receive(1, 7, 0));
    C(pwritev2(fd, three, 3, -1, RWF_APPEND));
    C(pwritev2(fd, three, 3, -1, 0x40000000));
}

static void sending_into_a_full_buffer(int fd) {
    struct timeval limit = {0, 50000};
    V(fill(fd));
    EVENTS(fd);
    C(send(fd, buffer, 100, MSG_DONTWAIT));
    C(send(fd, buffer, 0, MSG_DONTWAIT));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    long start = now_ms();
    C(send(fd, buffer, 100, 0));
    V(took(start, 38, 150));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    C(write(fd, buffer, 100));
    C(writev(fd, &(struct iovec){buffer, 100}, 1));
    C(shutdown(fd, SHUT_WR));
    V(peer_drain(1) > 8192);
    settle();
    EVENTS(fd);
}

void sending(enum kind kind) {
    int fd = connection(kind);
    sending_bytes(fd);
    sending_into_a_full_buffer(fd);
    C(send(fd, buffer, 10, 0));
    V(taken_signals());
    C(write(fd, buffer, 10));
    V(taken_signals());
    C(send(fd, buffer, 10, MSG_NOSIGNAL));
    C(sendmsg(fd, &(struct msghdr){0}, MSG_NOSIGNAL));
    C(write(fd, buffer, 0));
    V(taken_signals());
    end(fd);
}

static void one_message(int fd) {
    struct sockaddr_storage address = {0};
    char control[64];
    struct iovec two[2] = {{buffer, 3}, {buffer + 10, 4}};
    struct msghdr message = {&address, sizeof address, two, 2, control, sizeof control, 0x7fff};
    C(recvmsg(fd, &message, MSG_DONTWAIT));
    V(message.msg_namelen);
    V(message.msg_controllen);
    V(message.msg_flags);
    peer_send_text(1, "a message");
    settle();
    C(recvmsg(fd, &message, 0));
    V(message.msg_namelen);
    V(message.msg_controllen);
    V(message.msg_flags);
    BYTES(buffer, 3);
    BYTES(buffer + 10, 4);
    message.msg_iovlen = 0;
    C(recvmsg(fd, &message, MSG_DONTWAIT));
    message.msg_iovlen = 1025;
    C(recvmsg(fd, &message, MSG_DONTWAIT));
    C(sendmsg(fd, &message, 0));
    message = (struct msghdr){.msg_iov = two, .msg_iovlen = 2};
    C(recvmsg(fd, &message, MSG_DONTWAIT | MSG_TRUNC));
    V(message.msg_flags);
    C(recvmsg(fd, &message, MSG_DONTWAIT));
    memcpy(buffer, "abc", 3);
    memcpy(buffer + 10, "defg", 4);
    C(sendmsg(fd, &message, 0));
    V(peer_receive(1, 7, 0) == -EBADMSG);
    message.msg_name = &address;
    message.msg_namelen = sizeof address;
    C(sendmsg(fd, &message, 0));
    V(peer_receive(1, 7, 0) == -EBADMSG);
    message.msg_name = NULL;
    message.msg_iov = NULL;
    message.msg_iovlen = 0;
    C(sendmsg(fd, &message, 0));
    message.msg_iovlen = 1;
    C(sendmsg(fd, &message, 0));
}

static void control_messages(int fd) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    struct iovec one = {buffer, 1};
    struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    C(sendmsg(fd, &message, 0));
    V(peer_receive(1, 1, 0) != 0);
    control.header.cmsg_level = IPPROTO_IP;
    C(sendmsg(fd, &message, 0));
    V(peer_receive(1, 1, 0) != 0);
    control.header.cmsg_len = 1;
    C(sendmsg(fd, &message, 0));
    V(peer_take(1));
}

static void many_messages(int fd) {
    struct iovec vectors[4] = {{buffer, 3}, {buffer + 10, 3}, {buffer + 20, 3}, {buffer + 30, 3}};
    struct mmsghdr many[4] = {0};
    for (int i = 0; i < 4; i++)
        many[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
    C(recvmmsg(fd, many, 4, MSG_DONTWAIT, NULL));
    C(recvmmsg(fd, many, 0, MSG_DONTWAIT, NULL));
    peer_send_text(1, "12345678");
    settle();
    C(recvmmsg(fd, many, 4, MSG_DONTWAIT, NULL));
    for (int i = 0; i < 3; i++)
        V(many[i].msg_len);
    peer_send_text(1, "1234");
    settle();
    C(recvmmsg(fd, many, 4, MSG_WAITFORONE, NULL));
    V(many[1].msg_len);
    struct timespec limit = {0, 1000000};
    peer_send_text(1, "1234");
    settle();
    C(recvmmsg(fd, many, 1, 0, &limit));
    limit = (struct timespec){0, 0};
    C(recvmmsg(fd, many, 4, 0, &limit));
    limit = (struct timespec){0, 2000000000};
    C(recvmmsg(fd, many, 4, 0, &limit));
    memcpy(buffer, "abc", 3);
    C(sendmmsg(fd, many, 4, 0));
    for (int i = 0; i < 4; i++)
        V(many[i].msg_len);
    V(peer_receive(1, 12, 0) == -EBADMSG);
    C(sendmmsg(fd, many, 0, 0));
    C(sendmmsg(fd, many, 2, MSG_DONTWAIT));
    V(peer_receive(1, 6, 0) == -EBADMSG);
    many[2].msg_hdr.msg_iovlen = 2000;
    C(sendmmsg(fd, many, 4, 0));
    V(peer_receive(1, 6, 0) == -EBADMSG);
    many[0].msg_hdr.msg_iovlen = 2000;
    C(sendmmsg(fd, many, 4, 0));
    C(sendmmsg(fd, NULL, 1, 0));
    C(recvmmsg(fd, NULL, 1, MSG_DONTWAIT, NULL));
    many[0].msg_hdr.msg_iovlen = many[2].msg_hdr.msg_iovlen = 1;
    peer_send_text(1, "12345");
    peer_shutdown(1, SHUT_WR);
    settle();
    C(recvmmsg(fd, many, 4, 0, NULL));
    for (int i = 0; i < 4; i++)
        V(many[i].msg_len);
}

void messages(enum kind kind) {
    int fd = connection(kind);
    one_message(fd);
    control_messages(fd);
    many_messages(fd);
    end(fd);
}

// Pointers that lead nowhere: below what can be mapped, and beyond a program's
// part of the address space.
#define LOW ((void *)8)
#define HIGH ((void *)-4096)

void pointers(enum kind kind) {
    int fd = connection(kind), number = 0;
    socklen_t length = sizeof number;
    struct sockaddr_storage address;
    struct iovec low = {LOW, 4}, high = {HIGH, 4};
    struct msghdr message = {.msg_iov = &high, .msg_iovlen = 1};
    int epfd = epoll_create1(0);
    peer_send_text(1, "xyz");
    settle();
    C(recv(fd, NULL, 4, 0));
    C(recv(fd, LOW, 4, 0));
    C(recv(fd, HIGH, 4, 0));
    C(read(fd, NULL, 4));
    C(read(fd, HIGH, 4));
    C(read(fd, (char *)buffer, (size_t)-1));
    C(readv(fd, &low, 1));
    C(readv(fd, &high, 1));
    C(readv(fd, HIGH, 1));
    C(recvmsg(fd, NULL, 0));
    C(recvmsg(fd, HIGH, 0));
    C(recvmsg(fd, &message, 0));
    C(recv(fd, buffer, 3, 0));
    C(send(fd, NULL, 4, 0));
    C(send(fd, LOW, 4, 0));
    C(send(fd, HIGH, 4, 0));
    C(write(fd, HIGH, 4));
    C(write(fd, (char *)buffer, (size_t)-1));
    C(writev(fd, &high, 1));
    C(writev(fd, LOW, 1));
    C(sendmsg(fd, NULL, 0));
    C(sendmsg(fd, HIGH, 0));
    C(sendmsg(fd, &message, 0));
    C(getsockname(fd, NULL, &length));
    C(getsockname(fd, (void *)&address, NULL));
    C(getsockname(fd, HIGH, &length));
    C(getpeername(fd, HIGH, &length));
    C(getpeername(fd, (void *)&address, HIGH));
    C(getsockopt(fd, SOL_SOCKET, SO_TYPE, NULL, &length));
    C(getsockopt(fd, SOL_SOCKET, SO_TYPE, &number, NULL));
    C(getsockopt(fd, SOL_SOCKET, SO_TYPE, HIGH, &length));
    C(getsockopt(fd, SOL_SOCKET, SO_TYPE, &number, HIGH));
    C(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, NULL, 4));
    C(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, HIGH, 4));
    C(ioctl(fd, FIONREAD, NULL));
    C(ioctl(fd, FIONREAD, HIGH));
    C(ioctl(fd, FIONBIO, HIGH));
    C(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, NULL));
    C(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, HIGH));
    C(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &(struct epoll_event){EPOLLOUT, {.u64 = 1}}));
    C(epoll_wait(epfd, NULL, 1, 0));
    C(epoll_wait(epfd, HIGH, 1, 0));
    C(poll(NULL, 1, 0));
    C(poll(HIGH, 1, 0));
    C(select(fd + 1, HIGH, NULL, NULL, NULL));
    close(epfd);
    end(fd);
}
