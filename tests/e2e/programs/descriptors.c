// Threads that socket, connect, accept, dup, dup2, close, fork, exec, read, write
// and wait at random, over connections of the process to itself.
//
//   descriptors SECONDS SEED
//
// Every number belongs to one thread at a time, or lies in the pool through which
// they change hands, so that a call on it never fails with EBADF, and all of them
// together are what /proc/self/fd shows.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, OWNED = 24, POOL = 16, LISTENERS = 3, PORT = 7100, LIMIT = 512 };

struct worker {
    unsigned seed;
    int fds[OWNED], count;
    int epfd;
    long calls, connects, accepts, forks, bytes;
};

static int listeners[LISTENERS], pool[POOL], pooled;
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t barrier;
static struct timespec end;

static void fail(const char *what, long value) {
    fprintf(stderr, "%s: %ld %s\n", what, value, strerror(errno));
    abort();
}

static int is_over(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec >= end.tv_nsec);
}

static int dice(struct worker *self, int sides) { return rand_r(&self->seed) % sides; }

static void own(struct worker *self, int fd) {
    if (fd < 0)
        return;
    if (self->count < OWNED)
        self->fds[self->count++] = fd;
    else if (close(fd))
        fail("close", fd);
}

// Takes one of the thread's own out of its list; -1 when it has none.
static int disown(struct worker *self) {
    if (!self->count)
        return -1;
    int place = dice(self, self->count), fd = self->fds[place];
    self->fds[place] = self->fds[--self->count];
    return fd;
}

static int any(struct worker *self) { return self->count ? self->fds[dice(self, self->count)] : -1; }

static struct sockaddr_in address(struct worker *self) {
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        // One more than there are: refused by the kernel.
        .sin_port = htons(PORT + dice(self, LISTENERS + 1)),
        .sin_addr = {htonl(INADDR_LOOPBACK + dice(self, 3))},
    };
}

static void make(struct worker *self) {
    int fd = socket(AF_INET, SOCK_STREAM | (dice(self, 2) ? SOCK_NONBLOCK : 0), 0);
    if (fd < 0)
        fail("socket", fd);
    struct sockaddr_in to = address(self);
    if (dice(self, 4)) {
        struct timeval limit = {0, 20000};
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        if (!connect(fd, (struct sockaddr *)&to, sizeof to) || errno == EINPROGRESS)
            self->connects++;
        else if (errno != ECONNREFUSED && errno != EADDRNOTAVAIL)
            fail("connect", fd);
    }
    own(self, fd);
}

static void take(struct worker *self) {
    int fd = accept4(listeners[dice(self, LISTENERS)], NULL, NULL, SOCK_NONBLOCK * dice(self, 2));
    if (fd < 0 && errno != EAGAIN)
        fail("accept4", fd);
    self->accepts += fd >= 0;
    own(self, fd);
}

static void duplicate(struct worker *self) {
    int fd = any(self);
    if (fd < 0)
        return;
    int new = dice(self, 2) ? dup(fd) : fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (new < 0)
        fail("dup", fd);
    own(self, new);
}

static void duplicate_over(struct worker *self) {
    int over = disown(self), fd = any(self);
    if (over >= 0 && fd >= 0 && dup2(fd, over) != over)
        fail("dup2", over);
    own(self, over);
}

static void end_one(struct worker *self) {
    int fd = disown(self);
    if (fd >= 0 && close(fd))
        fail("close", fd);
}

static int is_fine(long result) { return result >= 0 || errno != EBADF; }

static void talk(struct worker *self) {
    static __thread char buffer[20000];
    int fd = any(self);
    if (fd < 0)
        return;
    long count;
    switch (dice(self, 5)) {
    case 0:
        count = send(fd, buffer, 1 + dice(self, sizeof buffer), MSG_DONTWAIT | MSG_NOSIGNAL);
        break;
    case 1:
        count = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
        self->bytes += count > 0 ? count : 0;
        break;
    case 2:
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        count = read(fd, buffer, sizeof buffer);
        self->bytes += count > 0 ? count : 0;
        break;
    case 3:
        count = shutdown(fd, dice(self, 3));
        break;
    default:
        count = getpeername(fd, (struct sockaddr *)buffer, &(socklen_t){64});
    }
    if (!is_fine(count))
        fail("a call on an own number", fd);
}

static void watch(struct worker *self) {
    struct epoll_event events[8], event = {EPOLLIN | (dice(self, 2) ? EPOLLET : 0), {.u64 = 7}};
    int fd = any(self), operation = dice(self, 3) ? EPOLL_CTL_ADD : EPOLL_CTL_DEL;
    if (fd >= 0 && epoll_ctl(self->epfd, operation, fd, &event) && errno != EEXIST && errno != ENOENT)
        fail("epoll_ctl", fd);
    if (epoll_wait(self->epfd, events, 8, dice(self, 2)) < 0)
        fail("epoll_wait", self->epfd);
    if (fd >= 0) {
        struct pollfd entry = {fd, POLLIN | POLLOUT, 0};
        if (poll(&entry, 1, 0) < 0 || entry.revents & POLLNVAL)
            fail("poll", fd);
    }
}

static void hand_over(struct worker *self) {
    int given = disown(self), got = -1;
    pthread_mutex_lock(&pool_lock);
    if (given >= 0 && pooled < POOL) {
        pool[pooled++] = given;
        given = -1;
    } else if (pooled) {
        got = pool[--pooled];
    }
    pthread_mutex_unlock(&pool_lock);
    own(self, given);
    own(self, got);
}

// A child touches what it has inherited, and goes; or becomes another program.
static void spawn(struct worker *self) {
    int execs = dice(self, 2), status;
    pid_t child = fork();
    if (child < 0)
        fail("fork", child);
    if (child == 0) {
        alarm(10);
        for (int nth = 0; nth < self->count; nth++) {
            int fd = self->fds[nth];
            // One that read from them would pass for a server that forks for each.
            if (fcntl(fd, F_GETFD) < 0 || close(dup(fd)) || (nth % 2 && close(fd)))
                _exit(1);
        }
        if (execs)
            execl("/bin/true", "true", (char *)NULL);
        _exit(execs ? 2 : 0);
    }
    if (waitpid(child, &status, 0) != child || status != 0)
        fail("a child's end", status);
    self->forks++;
}

static void *work(void *argument) {
    struct worker *self = argument;
    void (*const common[])(struct worker *) = {make, make, take, take, duplicate, duplicate_over, end_one, end_one,
                                               talk, talk, talk,  talk, watch,     hand_over};
    while (!is_over()) {
        if (dice(self, 400) == 0)
            spawn(self);
        else
            common[dice(self, sizeof common / sizeof *common)](self);
        self->calls++;
    }
    // Everybody stands still while one of them counts.
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    while (self->count)
        end_one(self);
    close(self->epfd);
    return NULL;
}

// The numbers below the library's own, as /proc/self/fd has them.
static void look(char *open) {
    memset(open, 0, LIMIT);
    DIR *directory = opendir("/proc/self/fd");
    for (struct dirent *entry; (entry = readdir(directory));) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && fd < LIMIT && fd != dirfd(directory))
            open[fd] = 1;
    }
    closedir(directory);
}

// They must be the `known` ones.
static void compare(const char *known, const char *when) {
    char open[LIMIT];
    look(open);
    for (int fd = 0; fd < LIMIT; fd++)
        if (open[fd] != known[fd]) {
            char path[64], target[128] = "nothing";
            snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
            if (readlink(path, target, sizeof target - 1) < 0)
                perror(path);
            fprintf(stderr, "%s: number %d is %s: %s\n", when, fd, open[fd] ? "open" : "closed", target);
            abort();
        }
}

int main(int argc, char **argv) {
    static struct worker workers[THREADS];
    static char known[LIMIT], before[LIMIT];
    pthread_t threads[THREADS];
    int on = 1;
    if (argc != 3)
        return 2;
    // The library keeps what it opens for itself above half of the limit.
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){2 * LIMIT, 2 * LIMIT});
    alarm(atoi(argv[1]) + 60);
    look(before);
    for (int nth = 0; nth < LISTENERS; nth++) {
        struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(PORT + nth)};
        listeners[nth] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        setsockopt(listeners[nth], SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(listeners[nth], (struct sockaddr *)&name, sizeof name) || listen(listeners[nth], 64))
            fail("listen", nth);
        before[listeners[nth]] = 1;
        accept(listeners[nth], NULL, NULL);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += atoi(argv[1]);
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    memcpy(known, before, sizeof known);
    for (int nth = 0; nth < THREADS; nth++) {
        workers[nth].seed = (unsigned)atoi(argv[2]) * THREADS + nth;
        workers[nth].epfd = epoll_create1(EPOLL_CLOEXEC);
        pthread_create(&threads[nth], NULL, work, &workers[nth]);
    }
    pthread_barrier_wait(&barrier);
    struct worker all = {0};
    for (int nth = 0; nth < THREADS; nth++) {
        struct worker *worker = &workers[nth];
        known[worker->epfd] = 1;
        for (int place = 0; place < worker->count; place++)
            known[worker->fds[place]] = 1;
        all.calls += worker->calls;
        all.connects += worker->connects;
        all.accepts += worker->accepts;
        all.forks += worker->forks;
        all.bytes += worker->bytes;
    }
    for (int place = 0; place < pooled; place++)
        known[pool[place]] = 1;
    compare(known, "in the middle");
    pthread_barrier_wait(&barrier);
    for (int nth = 0; nth < THREADS; nth++)
        pthread_join(threads[nth], NULL);
    while (pooled)
        close(pool[--pooled]);
    compare(before, "at the end");
    printf("calls %ld connects %ld accepts %ld forks %ld bytes %ld\n", all.calls, all.connects, all.accepts,
           all.forks, all.bytes);
    for (int nth = 0; nth < LISTENERS; nth++)
        close(listeners[nth]);
    printf("closed\n");
    fflush(stdout);
    // Until the test has seen that the stack has nothing left.
    sleep(getenv("TPA_TEST_STAY") ? 30 : 0);
    return 0;
}
