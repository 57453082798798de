// The differential script: one long list of socket calls. It prints a line a
// call, and must print the same on the kernel and under the shim.
//
//   differential OWN-ADDRESS PEER-ADDRESS PEER-NAMESPACE [SECTION]
//
// The peer is a thread of the same process where its namespace is "thread".
#include "script.h"

#include <sched.h>

struct in_addr own_ip, peer_ip;
const char *const kind_names[] = {"passive", "active"};
volatile sig_atomic_t signals;

static const char *current = "";

static const char *name_of(int error) {
    const char *name = strerrorname_np(error);
    return name ? name : "?";
}

void section(const char *what) { current = what; }

void report(int line, const char *text, long value, int error) {
    if (value < 0)
        printf("%s:%d %s = %ld %s\n", current, line, text, value, name_of(error));
    else
        printf("%s:%d %s = %ld%s\n", current, line, text, value, error == UNTOUCHED ? "" : " (errno touched)");
}

void report_value(int line, const char *text, long value) { printf("%s:%d %s: %ld\n", current, line, text, value); }

static void print_bits(unsigned bits) {
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {{EPOLLIN, "IN"},         {EPOLLPRI, "PRI"},       {EPOLLOUT, "OUT"},       {EPOLLERR, "ERR"},
                 {EPOLLHUP, "HUP"},       {POLLNVAL, "NVAL"},      {EPOLLRDNORM, "RDNORM"}, {EPOLLRDBAND, "RDBAND"},
                 {EPOLLWRNORM, "WRNORM"}, {EPOLLWRBAND, "WRBAND"}, {EPOLLRDHUP, "RDHUP"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (bits & names[i].bit) {
            printf(" %s", names[i].name);
            bits &= ~names[i].bit;
        }
    if (bits)
        printf(" and %#x", bits);
}

void report_events(int line, const char *text, int fd) {
    struct pollfd entry = {fd, POLLIN | POLLPRI | POLLOUT | POLLRDHUP | POLLRDNORM | POLLWRNORM, 0x55};
    int count = poll(&entry, 1, 0);
    printf("%s:%d poll %s = %d:", current, line, text, count);
    print_bits((unsigned short)entry.revents);
    printf("\n");
}

void report_ready(int line, int epfd, int room) {
    struct epoll_event events[64];
    int count = epoll_wait(epfd, events, room, 0);
    printf("%s:%d ready = %d", current, line, count);
    if (count < 0)
        printf(" %s", name_of(errno));
    for (int i = 0; i < count; i++) {
        printf("; %ld:", (long)events[i].data.u64);
        print_bits(events[i].events);
    }
    printf("\n");
}

void report_bytes(int line, const char *text, const void *buffer, long count) {
    printf("%s:%d %s: ", current, line, text);
    for (long i = 0; i < count; i++)
        printf("%02x", ((const unsigned char *)buffer)[i]);
    printf("\n");
}

void report_address(int line, const struct sockaddr_storage *address, socklen_t length) {
    char text[INET6_ADDRSTRLEN] = "?";
    int port = 0;
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
        port = ntohs(in->sin_port);
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)address;
        inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
        port = ntohs(in6->sin6_port);
    }
    int chosen = port != PORT && port != PEER_PORT && port != 0;
    printf("%s:%d address of family %d: %s port %d length %u\n", current, line, address->ss_family, text,
           chosen ? -1 : port, length);
}

void settle(void) { usleep(15000); }

long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int took(long since, long least, long most) {
    long time = now_ms() - since;
    if (time < least || time > most)
        fprintf(stderr, "%s: took %ld ms, not %ld to %ld\n", current, time, least, most);
    return time >= least && time <= most;
}

static void count_signal(int number) {
    (void)number;
    signals++;
}

void count_signals(int number, int flags) {
    struct sigaction action = {.sa_handler = count_signal, .sa_flags = flags};
    sigaction(number, &action, NULL);
}

int taken_signals(void) {
    int count = signals;
    signals = 0;
    return count;
}

struct sockaddr_in at(struct in_addr ip, int port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = ip};
}

int listener(int port, int backlog) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in own = at(own_ip, port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&own, sizeof own) || listen(fd, backlog))
        perror("listener");
    return fd;
}

int connection(enum kind kind) {
    int fd;
    if (kind == PASSIVE) {
        // One listener for all of them.
        static int shared = -1;
        if (shared < 0) {
            shared = listener(PORT, 64);
            // The stack starts at the first wait for a listener.
            fcntl(shared, F_SETFL, O_NONBLOCK);
            accept(shared, NULL, NULL);
            fcntl(shared, F_SETFL, 0);
        }
        if (peer_connect(1, PORT))
            fprintf(stderr, "%s: the peer cannot connect\n", current);
        fd = accept(shared, NULL, NULL);
    } else {
        struct sockaddr_in peer = at(peer_ip, PEER_PORT);
        peer_flush(0);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&peer, sizeof peer))
            fprintf(stderr, "%s: cannot connect: %s\n", current, name_of(errno));
        peer_accept(0, 1);
    }
    if (fd < 0)
        fprintf(stderr, "%s: no connection: %s\n", current, name_of(errno));
    return fd;
}

void end(int fd) {
    close(fd);
    peer_close(1);
}

// The sections that run once for each kind of connection.
static const struct {
    const char *name;
    void (*run)(enum kind);
} sections[] = {{"receiving", receiving},     {"sending", sending},         {"messages", messages},
                {"pointers", pointers},       {"descriptors", descriptors}, {"files", files},
                {"options", options},         {"states", states},           {"event_sets", event_sets},
                {"waiting", waiting},         {"interrupted", interrupted}, {"canceled", canceled},
                {"streams", streams},         {"processes", processes}};

// Those that make their own sockets.
static const struct {
    const char *name;
    void (*run)(void);
} others[] = {{"unconnected", unconnected},
              {"connecting", connecting},
              {"listeners", listeners},
              {"inherited_options", inherited_options},
              {"ipv6", ipv6}};

void start_peer(const char *namespace, const char *self);
int run_peer(int control);

int main(int argc, char **argv) {
    if (argc == 4 && !strcmp(argv[1], "peer")) {
        own_ip.s_addr = inet_addr(argv[2]);
        // A call that never comes back must not hold the test up.
        alarm(300);
        return run_peer(atoi(argv[3]));
    }
    if (argc < 4)
        return 2;
    own_ip.s_addr = inet_addr(argv[1]);
    peer_ip.s_addr = inet_addr(argv[2]);
    setvbuf(stdout, NULL, _IOLBF, 0);
    start_peer(argv[3], argv[0]);
    peer_listen(0, PEER_PORT);
    const char *only = argc > 4 ? argv[4] : NULL;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (!only || !strcmp(only, others[i].name)) {
            section(others[i].name);
            others[i].run();
        }
    for (enum kind kind = PASSIVE; kind <= ACTIVE; kind++)
        for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
            if (!only || !strcmp(only, sections[i].name)) {
                char name[64];
                snprintf(name, sizeof name, "%s %s", kind_names[kind], sections[i].name);
                section(name);
                count_signals(SIGPIPE, 0);
                sections[i].run(kind);
                taken_signals();
            }
    printf("the end\n");
    return 0;
}
