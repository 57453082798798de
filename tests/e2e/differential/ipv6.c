// Connections over IPv6, and AF_INET6 sockets over either family.
#include "script.h"

// Each listener has a port of its own, so that no former connection is in its way;
// and none is in a block of local ports that the stack may hold.
enum { DUAL_PORT = 7400, ONLY_PORT, BOTH_PORT, OWN_PORT, MAPPED_PORT, INHERIT_PORT, PEER6_PORT, LOCAL_PORT = 7500 };

static char buffer[4096];

struct sockaddr_in6 at6(const char *ip, int port) {
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    inet_pton(AF_INET6, ip, &address.sin6_addr);
    return address;
}

static void names(int fd) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    C(getsockname(fd, (struct sockaddr *)&address, &length));
    ADDRESS(&address, length);
    length = sizeof address;
    C(getpeername(fd, (struct sockaddr *)&address, &length));
    ADDRESS(&address, length);
    length = 7;
    C(getpeername(fd, (struct sockaddr *)&address, &length));
    V(length);
}

static void value_of(int fd, int level, int name) {
    int value = -1;
    C(getsockopt(fd, level, name, &value, &(socklen_t){4}));
    V(value);
}

static void fields(int fd) {
    value_of(fd, SOL_SOCKET, SO_DOMAIN);
    value_of(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    value_of(fd, IPPROTO_IPV6, IPV6_TCLASS);
    value_of(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS);
    value_of(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER);
    value_of(fd, IPPROTO_IPV6, IPV6_RECVERR);
    value_of(fd, IPPROTO_IP, IP_TOS);
    value_of(fd, IPPROTO_IP, IP_TTL);
    value_of(fd, IPPROTO_TCP, TCP_MAXSEG);
}

static void set_fields(int fd) {
    for (int value = -2; value <= 256; value += 86)
        C(setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &value, 4));
    value_of(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS);
    C(setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &(int){0x2b}, 4));
    value_of(fd, IPPROTO_IPV6, IPV6_TCLASS);
    C(setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &(int){256}, 4));
    C(setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &(int){-1}, 4));
    value_of(fd, IPPROTO_IPV6, IPV6_TCLASS);
    C(setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &(int){1}, 3));
    C(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, 4));
    C(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){0}, 4));
}

static void reply(int fd) {
    for (int i = 0; i < 5; i++)
        buffer[i] = (char)pattern(i);
    C(send(fd, buffer, 5, MSG_NOSIGNAL));
    V(peer_receive(1, 5, 0));
}

static int listener6(const char *ip, int port, int only) {
    struct sockaddr_in6 own = at6(ip, port);
    int fd = -1, on = 1;
    F(fd = socket(AF_INET6, SOCK_STREAM, 0));
    C(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, 4));
    C(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, 4));
    C(bind(fd, (struct sockaddr *)&own, sizeof own));
    C(listen(fd, 8));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    C(accept(fd, NULL, NULL));
    fcntl(fd, F_SETFL, 0);
    return fd;
}

// Accepts the peer, over IPv6 or IPv4.
static void take(int listener, int port, int over6) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int fd = -1;
    long connected = over6 ? peer_connect6(1, port) : peer_connect(1, port);
    V(connected);
    if (connected)
        return;
    F(fd = accept(listener, (struct sockaddr *)&address, &length));
    ADDRESS(&address, length);
    names(fd);
    fields(fd);
    peer_send_text(1, "hello");
    settle();
    C(recv(fd, buffer, sizeof buffer, 0));
    reply(fd);
    end(fd);
}

static void accepting(void) {
    int dual = listener6("::", DUAL_PORT, 0);
    take(dual, DUAL_PORT, 0);
    take(dual, DUAL_PORT, 1);
    close(dual);

    int only = listener6("::", ONLY_PORT, 1);
    V(peer_connect(1, ONLY_PORT));
    peer_close(1);
    take(only, ONLY_PORT, 1);
    close(only);

    int v4 = listener(BOTH_PORT, 8), v6 = listener6("::", BOTH_PORT, 1);
    take(v6, BOTH_PORT, 1);
    fcntl(v4, F_SETFL, O_NONBLOCK);
    V(peer_connect(1, BOTH_PORT));
    settle();
    F(close(accept(v4, NULL, NULL)));
    peer_close(1);
    close(v4), close(v6);

    int own = listener6(OWN6, OWN_PORT, 0);
    take(own, OWN_PORT, 1);
    close(own);

    char text[64] = "::ffff:";
    inet_ntop(AF_INET, &own_ip, text + 7, sizeof text - 7);
    int mapped = listener6(text, MAPPED_PORT, 0);
    take(mapped, MAPPED_PORT, 0);
    close(mapped);
}

static void inheriting(void) {
    int fd = listener6("::", INHERIT_PORT, 0);
    C(setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &(int){0x28}, 4));
    C(setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &(int){9}, 4));
    C(setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &(int){1}, 4));
    take(fd, INHERIT_PORT, 1);
    take(fd, INHERIT_PORT, 0);
    close(fd);
}

static void active(void) {
    struct sockaddr_in6 peer = at6(PEER6, PEER6_PORT), own = at6("::", LOCAL_PORT);
    int fd = -1;
    peer_listen6(2, PEER6_PORT);
    F(fd = socket(AF_INET6, SOCK_STREAM, 0));
    C(setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &(int){0x50}, 4));
    C(connect(fd, (struct sockaddr *)&peer, sizeof peer));
    V(peer_accept(2, 1));
    names(fd);
    fields(fd);
    set_fields(fd);
    reply(fd);
    C(connect(fd, (struct sockaddr *)&peer, sizeof peer));
    end(fd);

    F(fd = socket(AF_INET6, SOCK_STREAM, 0));
    C(bind(fd, (struct sockaddr *)&own, sizeof own));
    C(connect(fd, (struct sockaddr *)&peer, sizeof peer));
    V(peer_accept(2, 1));
    reply(fd);
    end(fd);

    own = at6(OWN6, 0);
    F(fd = socket(AF_INET6, SOCK_STREAM, 0));
    C(bind(fd, (struct sockaddr *)&own, sizeof own));
    C(connect(fd, (struct sockaddr *)&peer, sizeof peer));
    V(peer_accept(2, 1));
    end(fd);
    peer_close(2);
}

// A connection that cannot be, on a fresh socket of a family.
static void attempt(int family, int only, const void *address, socklen_t length) {
    int fd = -1;
    F(fd = socket(family, SOCK_STREAM, 0));
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, 4);
    C(connect(fd, address, length));
    value_of(fd, SOL_SOCKET, SO_ERROR);
    close(fd);
}

static void refusing(void) {
    struct sockaddr_in v4 = at(peer_ip, CLOSED_PORT);
    struct sockaddr_in6 v6 = at6(PEER6, CLOSED_PORT), mapped = at6("::ffff:0.0.0.0", CLOSED_PORT);
    memcpy(&mapped.sin6_addr.s6_addr[12], &peer_ip, 4);
    attempt(AF_INET6, 0, &v6, sizeof v6);
    attempt(AF_INET6, 0, &mapped, sizeof mapped);
    attempt(AF_INET6, 1, &mapped, sizeof mapped);
    attempt(AF_INET6, 0, &v4, sizeof v4);
    attempt(AF_INET, 0, &v6, sizeof v6);
    attempt(AF_INET, 0, &mapped, sizeof mapped);
    attempt(AF_INET6, 0, &v6, 23);
    const char *nowhere[] = {"ff02::1", "fe80::1", "2001:db8::1"};
    for (int i = 0; i < 3; i++) {
        v6 = at6(nowhere[i], CLOSED_PORT);
        attempt(AF_INET6, 0, &v6, sizeof v6);
    }
}

void ipv6(void) {
    // Loopback has no second side.
    if (peer_is_thread)
        return;
    accepting();
    inheriting();
    active();
    refusing();
}
