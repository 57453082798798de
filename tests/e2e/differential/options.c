// Socket options: what a fresh connection reports, what setting one changes,
// and the rules for lengths.
#include "script.h"

struct option {
    int level, name;
    const char *text;
};
#define O(level, name)                                                                                       \
    { level, name, #name }

static const struct option ints[] = {
    O(SOL_SOCKET, SO_REUSEADDR),
    O(SOL_SOCKET, SO_REUSEPORT),
    O(SOL_SOCKET, SO_KEEPALIVE),
    O(SOL_SOCKET, SO_BROADCAST),
    O(SOL_SOCKET, SO_DONTROUTE),
    O(SOL_SOCKET, SO_OOBINLINE),
    O(SOL_SOCKET, SO_PRIORITY),
    O(SOL_SOCKET, SO_ERROR),
    O(SOL_SOCKET, SO_TYPE),
    O(SOL_SOCKET, SO_DOMAIN),
    O(SOL_SOCKET, SO_PROTOCOL),
    O(SOL_SOCKET, SO_ACCEPTCONN),
    O(SOL_SOCKET, SO_MARK),
    O(SOL_SOCKET, SO_SNDLOWAT),
    O(SOL_SOCKET, SO_DEBUG),
    O(IPPROTO_TCP, TCP_NODELAY),
    O(IPPROTO_TCP, TCP_CORK),
    O(IPPROTO_TCP, TCP_KEEPIDLE),
    O(IPPROTO_TCP, TCP_KEEPINTVL),
    O(IPPROTO_TCP, TCP_KEEPCNT),
    O(IPPROTO_TCP, TCP_USER_TIMEOUT),
    O(IPPROTO_TCP, TCP_DEFER_ACCEPT),
    O(IPPROTO_IP, IP_TOS),
    O(IPPROTO_IP, IP_TTL),
    O(IPPROTO_IP, IP_MTU_DISCOVER),
    O(IPPROTO_IP, IP_FREEBIND),
    O(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT),
    O(IPPROTO_IP, IP_RECVERR),
    O(IPPROTO_IPV6, IPV6_V6ONLY),
    O(IPPROTO_IPV6, IPV6_TCLASS),
    {SOL_SOCKET, 9999, "unknown"},
    {IPPROTO_TCP, 9999, "unknown"},
    {IPPROTO_IP, 9999, "unknown"},
    {9999, 1, "unknown"},
};

static void print(const char *what, const struct option *option, int result, int value, socklen_t length) {
    char text[128];
    snprintf(text, sizeof text, "%s %s (value %d, length %u)", what, option->text, value, length);
    report(__LINE__, text, result, errno);
}

static void get(int fd, const struct option *option, socklen_t room) {
    int value = 0;
    socklen_t length = room;
    errno = UNTOUCHED;
    int result = getsockopt(fd, option->level, option->name, &value, &length);
    print("get", option, result, value, length);
}

static void set(int fd, const struct option *option, int value, socklen_t length) {
    errno = UNTOUCHED;
    int result = setsockopt(fd, option->level, option->name, &value, length);
    print("set", option, result, value, length);
}

static void each_int(int fd) {
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        const struct option *option = &ints[i];
        get(fd, option, 4);
        get(fd, option, 1);
        get(fd, option, 0);
        for (int value = 7; value >= -1; value -= 2) {
            set(fd, option, value, 4);
            get(fd, option, 4);
        }
        set(fd, option, 0, 4);
        get(fd, option, 4);
        set(fd, option, 1, 1);
        set(fd, option, 1, 0);
        set(fd, option, 1, (socklen_t)-1);
        set(fd, option, 0, 4);
    }
    // The next listener on the port must not find it in use.
    set(fd, &ints[0], 1, 4);
}

static void buffers(int fd) {
    static const struct option sizes[] = {O(SOL_SOCKET, SO_SNDBUF), O(SOL_SOCKET, SO_RCVBUF)};
    for (size_t i = 0; i < 2; i++) {
        static const int values[] = {50000, 0, 1, 4096, 100000, -1};
        for (size_t j = 0; j < sizeof values / sizeof *values; j++) {
            set(fd, &sizes[i], values[j], 4);
            get(fd, &sizes[i], 4);
        }
        set(fd, &sizes[i], 1, 3);
        get(fd, &sizes[i], 2);
    }
}

static void structures(int fd) {
    struct linger linger = {-1, -1};
    struct timeval time = {-1, -1};
    socklen_t length = sizeof linger;
    C(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &length));
    V(linger.l_onoff);
    V(linger.l_linger);
    linger = (struct linger){7, 9};
    C(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    C(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &length));
    V(linger.l_onoff);
    V(linger.l_linger);
    linger = (struct linger){0, 5};
    C(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    C(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &length));
    V(linger.l_onoff);
    C(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, 4));
    static const int limits[] = {SO_RCVTIMEO, SO_SNDTIMEO};
    for (int i = 0; i < 2; i++) {
        length = sizeof time;
        C(getsockopt(fd, SOL_SOCKET, limits[i], &time, &length));
        V(time.tv_sec);
        V(time.tv_usec);
        time = (struct timeval){1, 250000};
        C(setsockopt(fd, SOL_SOCKET, limits[i], &time, sizeof time));
        C(getsockopt(fd, SOL_SOCKET, limits[i], &time, &length));
        V(time.tv_sec);
        V(time.tv_usec / 10000);
        time = (struct timeval){1, 1000000};
        C(setsockopt(fd, SOL_SOCKET, limits[i], &time, sizeof time));
        time = (struct timeval){-1, 0};
        C(setsockopt(fd, SOL_SOCKET, limits[i], &time, sizeof time));
        C(getsockopt(fd, SOL_SOCKET, limits[i], &time, &length));
        V(time.tv_sec);
        time = (struct timeval){0, 0};
        C(setsockopt(fd, SOL_SOCKET, limits[i], &time, 8));
        C(setsockopt(fd, SOL_SOCKET, limits[i], &time, sizeof time));
        length = 4;
        C(getsockopt(fd, SOL_SOCKET, limits[i], &time, &length));
        V(length);
    }
}

static void others(int fd) {
    char name[64] = "?";
    socklen_t length = sizeof name;
    uint32_t memory[16];
    int value = -1;
    C(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &length));
    V(length);
    C(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "nodevice", 8));
    length = sizeof memory;
    C(getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &length));
    V(length);
    length = 8;
    C(getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &length));
    V(length);
    C(setsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, length));
    length = sizeof value;
    C(getsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &value, &length));
    V(length);
    value = 0;
    C(setsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &value, sizeof value));
    C(getsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &value, &length));
    V(value >= 0);
    C(setsockopt(fd, IPPROTO_IP, IP_TOS, &(char){8}, 1));
    value = 0;
    C(getsockopt(fd, IPPROTO_IP, IP_TOS, &value, &length));
    V(value);
    length = 1;
    char byte = 0;
    C(getsockopt(fd, IPPROTO_IP, IP_TOS, &byte, &length));
    V(byte);
    V(length);
    C(setsockopt(fd, IPPROTO_IP, IP_TTL, &(int){300}, 4));
    length = 4;
    C(setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &(int){32768}, 4));
    C(setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &(int){128}, 4));
    C(getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &value, &length));
    length = (socklen_t)-1;
    C(getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &length));
    C(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &length));
}

void options(enum kind kind) {
    int fd = connection(kind);
    each_int(fd);
    end(fd);
    fd = connection(kind);
    buffers(fd);
    structures(fd);
    others(fd);
    end(fd);
}

static void report_all(int fd) {
    struct linger linger;
    struct timeval time;
    static const struct option list[] = {
        O(SOL_SOCKET, SO_REUSEADDR),    O(SOL_SOCKET, SO_REUSEPORT),     O(SOL_SOCKET, SO_KEEPALIVE),
        O(SOL_SOCKET, SO_OOBINLINE),    O(SOL_SOCKET, SO_PRIORITY),      O(SOL_SOCKET, SO_SNDBUF),
        O(SOL_SOCKET, SO_RCVBUF),       O(SOL_SOCKET, SO_ACCEPTCONN),    O(IPPROTO_TCP, TCP_NODELAY),
        O(IPPROTO_TCP, TCP_CORK),       O(IPPROTO_TCP, TCP_KEEPIDLE),    O(IPPROTO_TCP, TCP_KEEPINTVL),
        O(IPPROTO_TCP, TCP_KEEPCNT),    O(IPPROTO_TCP, TCP_USER_TIMEOUT), O(IPPROTO_IP, IP_TOS),
        O(IPPROTO_IP, IP_TTL),          O(IPPROTO_IP, IP_MTU_DISCOVER),  O(IPPROTO_TCP, TCP_DEFER_ACCEPT),
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        get(fd, &list[i], 4);
    C(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &(socklen_t){sizeof linger}));
    V(linger.l_onoff);
    V(linger.l_linger);
    C(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, &(socklen_t){sizeof time}));
    V(time.tv_sec);
    C(getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, &(socklen_t){sizeof time}));
    V(time.tv_sec);
}

static void set_all(int fd) {
    static const struct {
        struct option option;
        int value;
    } list[] = {
        {O(SOL_SOCKET, SO_KEEPALIVE), 1},    {O(SOL_SOCKET, SO_OOBINLINE), 1},   {O(SOL_SOCKET, SO_PRIORITY), 3},
        {O(SOL_SOCKET, SO_SNDBUF), 60000},   {O(SOL_SOCKET, SO_RCVBUF), 70000},  {O(IPPROTO_TCP, TCP_NODELAY), 1},
        {O(IPPROTO_TCP, TCP_KEEPIDLE), 77},  {O(IPPROTO_TCP, TCP_KEEPINTVL), 7}, {O(IPPROTO_TCP, TCP_KEEPCNT), 5},
        {O(IPPROTO_TCP, TCP_USER_TIMEOUT), 4321}, {O(IPPROTO_IP, IP_TTL), 33},   {O(IPPROTO_IP, IP_TOS), 16},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        set(fd, &list[i].option, list[i].value, 4);
    C(setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 3}, sizeof(struct linger)));
    C(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){4, 0}, sizeof(struct timeval)));
    C(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){5, 0}, sizeof(struct timeval)));
}

// What an accepted connection has of its listener, set before listen(2) and
// after it; and what a connecting one keeps.
void inherited_options(void) {
    struct sockaddr_in own = at(own_ip, PORT), peer = at(peer_ip, PEER_PORT);
    int listening = socket(AF_INET, SOCK_STREAM, 0), one, on = 1;
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    set_all(listening);
    C(bind(listening, (struct sockaddr *)&own, sizeof own));
    C(listen(listening, 8));
    peer_connect(1, PORT);
    F(one = accept(listening, NULL, NULL));
    report_all(one);
    setsockopt(one, SOL_SOCKET, SO_LINGER, &(struct linger){0, 0}, sizeof(struct linger));
    end(one);
    close(listening);

    listening = listener(PORT, 8);
    fcntl(listening, F_SETFL, O_NONBLOCK);
    C(accept(listening, NULL, NULL));
    fcntl(listening, F_SETFL, 0);
    set_all(listening);
    report_all(listening);
    peer_connect(1, PORT);
    F(one = accept(listening, NULL, NULL));
    report_all(one);
    setsockopt(one, SOL_SOCKET, SO_LINGER, &(struct linger){0, 0}, sizeof(struct linger));
    end(one);
    close(listening);

    one = socket(AF_INET, SOCK_STREAM, 0);
    set_all(one);
    C(connect(one, (struct sockaddr *)&peer, sizeof peer));
    peer_accept(0, 1);
    report_all(one);
    setsockopt(one, SOL_SOCKET, SO_LINGER, &(struct linger){0, 0}, sizeof(struct linger));
    end(one);
}
