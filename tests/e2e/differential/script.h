// What the parts of the differential script share: how a call is reported, and
// the peer on the other side of the link.
//
// Every line that the script prints must be the same on the kernel and under
// the shim: so it prints no descriptor number, no port that the system chose
// and no time, only what they are compared with.
#ifndef SCRIPT_H
#define SCRIPT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Ports of the script, all of which its configuration accelerates.
#define PORT 7100
#define OTHER_PORT 7101
#define PEER_PORT 7200
#define CLOSED_PORT 7300

// An errno that no call here sets: success must leave it alone.
#define UNTOUCHED EXDEV

// Reports a call: its text, its value, and errno when it failed.
#define C(call)                                                                                              \
    do {                                                                                                     \
        errno = UNTOUCHED;                                                                                   \
        long value_ = (long)(call);                                                                          \
        report(__LINE__, #call, value_, errno);                                                              \
    } while (0)

// Reports a call that returns a descriptor, without its number.
#define F(call)                                                                                              \
    do {                                                                                                     \
        errno = UNTOUCHED;                                                                                   \
        long value_ = (long)(call);                                                                          \
        report(__LINE__, #call, value_ >= 0 ? 0 : value_, errno);                                            \
    } while (0)

// Reports a value that is no call.
#define V(value) report_value(__LINE__, #value, (long)(value))

void report(int line, const char *text, long value, int error);
void report_value(int line, const char *text, long value);
// Begins a section; `what` stands before each of its lines.
void section(const char *what);
// Reports the poll(2) bits of a descriptor.
#define EVENTS(fd) report_events(__LINE__, #fd, fd)
void report_events(int line, const char *text, int fd);
// Reports what a set has ready now, in its order, and how much.
#define READY(epfd, room) report_ready(__LINE__, epfd, room)
void report_ready(int line, int epfd, int room);
// Reports the bytes of a buffer as text.
#define BYTES(buffer, count) report_bytes(__LINE__, #buffer, buffer, count)
void report_bytes(int line, const char *text, const void *buffer, long count);
// Reports an address and the length that came with it.
void report_address(int line, const struct sockaddr_storage *address, socklen_t length);
#define ADDRESS(address, length) report_address(__LINE__, address, length)

// Lets what is under way arrive.
void settle(void);
// Milliseconds of a clock that only goes forward.
long now_ms(void);
// Whether `since` is at least `least` and at most `most` milliseconds ago.
int took(long since, long least, long most);

// Signals that arrived since the last call.
extern volatile sig_atomic_t signals;
void count_signals(int signal, int flags);
int taken_signals(void);

// The script's own address and its peer's.
extern struct in_addr own_ip, peer_ip;
struct sockaddr_in at(struct in_addr ip, int port);
// The same over IPv6.
#define OWN6 "fd77::1"
#define PEER6 "fd77::2"
struct sockaddr_in6 at6(const char *ip, int port);

// What the peer does. Every function
// returns when it is done: its value, or a negative errno. A slot is a small
// number by which the peer keeps a socket.
long peer_listen(int slot, int port);
long peer_connect(int slot, int port);
// The same over IPv6.
long peer_listen6(int slot, int port);
long peer_connect6(int slot, int port);
long peer_accept(int listener, int slot);
// Throws away what waits to be accepted.
long peer_flush(int listener);
long peer_send(int slot, long bytes);
long peer_send_text(int slot, const char *text);
long peer_urgent(int slot);
// Receives exactly so many bytes; their count and, if they are not what
// `send_pattern` would send from offset `from` on, -EBADMSG.
long peer_receive(int slot, long bytes, long from);
// Takes what is there: a count, 0 at the end, -EAGAIN.
long peer_take(int slot);
// Receives until the end: the count, or why it ended.
long peer_drain(int slot);
long peer_shutdown(int slot, int how);
long peer_close(int slot);
long peer_reset(int slot);
long peer_set_receive_buffer(int slot, long bytes);

// Whether it is a thread of this process.
extern int peer_is_thread;

// The byte at an offset of the pattern that both sides send.
unsigned char pattern(long offset);

// How a connection of the script comes about.
enum kind { PASSIVE, ACTIVE };
extern const char *const kind_names[];
// A connection with the peer's slot 1.
int connection(enum kind kind);
// A listener on a port of the script's own.
int listener(int port, int backlog);
// Closes both sides of a connection.
void end(int fd);

void unconnected(void);
void listeners(void);
void receiving(enum kind kind);
void sending(enum kind kind);
void messages(enum kind kind);
void pointers(enum kind kind);
void descriptors(enum kind kind);
void files(enum kind kind);
void options(enum kind kind);
void inherited_options(void);
void ipv6(void);
void states(enum kind kind);
void connecting(void);
void event_sets(enum kind kind);
void waiting(enum kind kind);
void interrupted(enum kind kind);
void canceled(enum kind kind);
void streams(enum kind kind);
void processes(enum kind kind);

#endif
