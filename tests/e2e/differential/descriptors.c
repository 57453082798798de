// Numbers: dup, fcntl, ioctl, close; what the file behind a number looks like.
#include "script.h"

#include <sys/file.h>
#include <sys/sysmacros.h>
#include <termios.h>

static int is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

static void flags(int fd) {
    int on = 1, number = -1;
    C(fcntl(fd, F_GETFL));
    C(fcntl(fd, F_SETFL, O_NONBLOCK));
    C(fcntl(fd, F_GETFL));
    C(recv(fd, &number, 4, 0));
    C(fcntl(fd, F_SETFL, 0));
    C(ioctl(fd, FIONBIO, &on));
    C(fcntl(fd, F_GETFL));
    C(read(fd, &number, 4));
    on = 0;
    C(ioctl(fd, FIONBIO, &on));
    C(fcntl(fd, F_GETFL));
    C(fcntl(fd, F_GETFD));
    C(fcntl(fd, F_SETFD, FD_CLOEXEC));
    C(fcntl(fd, F_GETFD));
    C(ioctl(fd, FIONCLEX));
    C(fcntl(fd, F_GETFD));
    C(ioctl(fd, FIOCLEX));
    C(fcntl(fd, F_GETFD));
    C(fcntl(fd, F_SETFD, 0));
    C(fcntl(fd, F_GETOWN));
    C(fcntl(fd, F_SETOWN, getpid()));
    V(fcntl(fd, F_GETOWN) == getpid());
    C(fcntl(fd, F_GETSIG));
    C(fcntl(fd, F_SETSIG, SIGUSR1));
    V(fcntl(fd, F_GETSIG) == SIGUSR1);
    C(fcntl(fd, F_GETPIPE_SZ));
    C(fcntl(fd, F_GETLEASE));
    C(fcntl(fd, 9999));
    C(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK));
    C(fcntl(fd, F_GETFL));
    C(fcntl(fd, F_SETFL, 0));
}

static void controls(int fd) {
    int number = -1;
    C(ioctl(fd, FIONREAD, &number));
    V(number);
    peer_send(1, 123);
    settle();
    C(ioctl(fd, FIONREAD, &number));
    V(number);
    char byte;
    C(recv(fd, &byte, 1, 0));
    C(ioctl(fd, SIOCINQ, &number));
    V(number);
    while (recv(fd, &byte, 1, MSG_DONTWAIT) > 0)
        continue;
    C(ioctl(fd, SIOCATMARK, &number));
    V(number);
    C(sockatmark(fd));
    C(ioctl(fd, SIOCOUTQ, &number));
    V(number);
    C(ioctl(fd, SIOCOUTQNSD, &number));
    V(number);
    C(send(fd, "12345", 5, 0));
    V(peer_receive(1, 5, 0) == -EBADMSG);
    usleep(60000);
    C(ioctl(fd, SIOCOUTQ, &number));
    V(number);
    C(ioctl(fd, SIOCOUTQNSD, &number));
    V(number);
    C(ioctl(fd, 0x12345, &number));
    C(ioctl(fd, TCGETS, &(struct termios){0}));
    C(isatty(fd));
    C(isfdtype(fd, S_IFSOCK));
    C(ioctl(fd, FIOGETOWN, &number));
    V(number == getpid());
    C(ioctl(fd, SIOCGPGRP, &number));
    V(number == getpid());
    char request[64] = "lo";
    C(ioctl(fd, 0x8913, request)); // SIOCGIFFLAGS
    C(ioctl(fd, FIOQSIZE, request));
}

static void duplicates(int fd) {
    int other, third, spare = open("/dev/null", O_RDONLY);
    char byte;
    F(other = dup(fd));
    C(send(other, "d", 1, 0));
    V(peer_take(1) == 1 || (settle(), peer_take(1)));
    C(fcntl(other, F_SETFL, O_NONBLOCK));
    C(fcntl(fd, F_GETFL));
    C(recv(fd, &byte, 1, 0));
    C(fcntl(fd, F_SETFL, 0));
    C(fcntl(other, F_GETFL));
    V(dup2(fd, spare) == spare);
    C(send(spare, "d", 1, 0));
    C(dup2(fd, fd) == fd);
    C(dup2(fd, -1));
    C(dup2(-1, spare));
    V(is_open(spare));
    C(dup3(fd, fd, 0));
    C(dup3(fd, spare, 77));
    V(dup3(fd, spare, O_CLOEXEC) == spare);
    C(fcntl(spare, F_GETFD));
    C(fcntl(fd, F_GETFD));
    F(third = fcntl(fd, F_DUPFD, 200));
    V(third >= 200);
    C(fcntl(third, F_GETFD));
    C(close(third));
    F(third = fcntl(fd, F_DUPFD_CLOEXEC, 200));
    C(fcntl(third, F_GETFD));
    C(fcntl(fd, F_DUPFD, -1));
    C(fcntl(fd, F_DUPFD, 1 << 30));
    C(shutdown(third, SHUT_WR));
    C(send(fd, "d", 1, MSG_NOSIGNAL));
    C(close(fd));
    C(close(fd));
    C(recv(other, &byte, 1, MSG_DONTWAIT));
    C(recv(fd, &byte, 1, MSG_DONTWAIT));
    C(close(other));
    C(close(third));
    V(dup2(spare, other) == other);
    C(getpeername(other, (struct sockaddr *)&(struct sockaddr_in){0}, &(socklen_t){16}));
    C(close(spare));
    C(close(other));
    V(peer_drain(1));
    peer_close(1);
}

static void ranges(enum kind kind) {
    int fd = connection(kind), high, epfd = epoll_create1(0);
    char byte;
    F(high = fcntl(fd, F_DUPFD, 300));
    C(close_range(300, 310, CLOSE_RANGE_CLOEXEC));
    C(fcntl(high, F_GETFD));
    C(close_range(310, 300, 0));
    C(close_range(300, 310, 77));
    V(is_open(high));
    C(close_range(300, 310, 0));
    V(is_open(high));
    C(recv(fd, &byte, 1, MSG_DONTWAIT));
    F(high = fcntl(fd, F_DUPFD, 300));
    C(epoll_ctl(epfd, EPOLL_CTL_ADD, high, &(struct epoll_event){EPOLLIN, {.u64 = 9}}));
    closefrom(300);
    V(is_open(high));
    C(send(fd, "r", 1, 0));
    // Threads with tables of their own are no peers of each other any more.
    C(close_range(fd, fd, peer_is_thread ? 0 : CLOSE_RANGE_UNSHARE));
    C(recv(fd, &byte, 1, 0));
    V(peer_drain(1));
    peer_close(1);
    close(epfd);
}

static void status(enum kind kind) {
    int fd = connection(kind), other = dup(fd), second;
    struct stat one, two;
    struct statx extended;
    C(fstat(fd, &one));
    V((one.st_mode & S_IFMT) == S_IFSOCK);
    V(one.st_mode & 07777);
    V(one.st_size);
    V(one.st_nlink);
    V(one.st_blksize);
    V(one.st_uid == getuid());
    C(fstat(other, &two));
    V(one.st_ino == two.st_ino && one.st_dev == two.st_dev);
    C(fstat64(fd, (struct stat64 *)&two));
    V(one.st_ino == two.st_ino && one.st_dev == two.st_dev && one.st_mode == two.st_mode);
    C(fstatat(fd, "", &two, AT_EMPTY_PATH));
    V(one.st_ino == two.st_ino && one.st_mode == two.st_mode);
    C(fstatat(fd, "", &two, 0));
    C(fstatat(fd, "x", &two, 0));
    C(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &extended));
    V(extended.stx_ino == one.st_ino && extended.stx_mode == one.st_mode);
    V(makedev(extended.stx_dev_major, extended.stx_dev_minor) == one.st_dev);
    F(second = socket(AF_INET, SOCK_STREAM, 0));
    C(fstat(second, &two));
    V(one.st_ino != two.st_ino && one.st_dev == two.st_dev);
    C(close(second));
    C(fchmod(fd, 0600));
    C(fsync(fd));
    C(ftruncate(fd, 0));
    C(flock(fd, LOCK_SH | LOCK_NB));
    C(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1 : 0);
    C(fchdir(fd));
    close(other);
    end(fd);
}

// A number that was made before connect(2) is the same socket after it.
static void before_connecting(void) {
    struct sockaddr_in peer = at(peer_ip, PEER_PORT);
    char byte = 0;
    int fd = socket(AF_INET, SOCK_STREAM, 0), other = dup(fd), third = fcntl(fd, F_DUPFD_CLOEXEC, 100);
    C(connect(fd, (struct sockaddr *)&peer, sizeof peer));
    peer_accept(0, 1);
    C(connect(other, (struct sockaddr *)&peer, sizeof peer));
    C(send(other, "o", 1, MSG_NOSIGNAL));
    V(peer_receive(1, 1, 0) != 0);
    peer_send_text(1, "p");
    C(recv(third, &byte, 1, 0));
    C(fcntl(third, F_SETFL, O_NONBLOCK));
    C(recv(fd, &byte, 1, 0));
    C(close(fd));
    C(send(third, "q", 1, MSG_NOSIGNAL));
    C(close(third));
    C(close(other));
    V(peer_drain(1));
    peer_close(1);
}

void descriptors(enum kind kind) {
    int fd = connection(kind);
    flags(fd);
    controls(fd);
    end(fd);
    duplicates(connection(kind));
    ranges(kind);
    status(kind);
    if (kind == ACTIVE)
        before_connecting();
}
