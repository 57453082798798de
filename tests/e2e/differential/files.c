// sendfile and splice; stdio on a connection; raw system calls; processes.
#include "script.h"

#include <spawn.h>
#include <sys/statfs.h>

static char buffer[1 << 17];

static int pattern_file(long bytes) {
    FILE *file = tmpfile();
    for (long i = 0; i < bytes; i++)
        fputc(pattern(i), file);
    fflush(file);
    int fd = dup(fileno(file));
    fclose(file);
    lseek(fd, 0, SEEK_SET);
    return fd;
}

static void sending_files(int fd) {
    int file = pattern_file(100000), pipes[2], null = open("/dev/null", O_WRONLY);
    off_t offset = 0;
    off64_t offset64 = 10;
    C(sendfile(fd, file, NULL, 1000));
    V(lseek(file, 0, SEEK_CUR));
    V(peer_receive(1, 1000, 0));
    C(sendfile(fd, file, &offset, 2000));
    V(offset);
    V(lseek(file, 0, SEEK_CUR));
    V(peer_receive(1, 2000, 0));
    C(sendfile64(fd, file, &offset64, 50));
    V(offset64);
    V(peer_receive(1, 50, 10));
    C(sendfile(fd, file, NULL, 0));
    offset = 99990;
    C(sendfile(fd, file, &offset, 1000));
    V(offset);
    V(peer_receive(1, 10, 99990));
    C(sendfile(fd, file, &offset, 1000));
    offset = 200000;
    C(sendfile(fd, file, &offset, 1000));
    offset = -1;
    C(sendfile(fd, file, &offset, 1000));
    C(sendfile(fd, -1, NULL, 10));
    C(sendfile(-1, file, NULL, 10));
    C(sendfile(fd, null, NULL, 10));
    C(sendfile(fd, file, (off_t *)-4096, 10));
    offset = 0;
    C(sendfile(fd, file, &offset, 90000));
    V(offset);
    V(peer_receive(1, 90000, 0));
    C(pipe(pipes));
    C(write(pipes[1], "from a pipe", 11));
    C(sendfile(fd, pipes[0], NULL, 100));
    C(sendfile(fd, pipes[0], &offset, 100));
    C(sendfile(file, fd, NULL, 10));
    C(sendfile(fd, fd, NULL, 10));
    C(sendfile(null, fd, &offset, 10));
    lseek(file, 0, SEEK_SET);
    C(fcntl(fd, F_SETFL, O_NONBLOCK));
    while (sendfile(fd, file, &(off_t){0}, 100000) > 0)
        continue;
    C(sendfile(fd, file, NULL, 1000));
    V(lseek(file, 0, SEEK_CUR));
    shutdown(fd, SHUT_WR);
    C(sendfile(fd, file, NULL, 10));
    V(taken_signals());
    V(peer_drain(1) > 100000);
    close(pipes[0]);
    close(pipes[1]);
    close(null);
    close(file);
}

static void splicing(int fd) {
    int pipes[2], file = pattern_file(1000);
    loff_t offset = 0;
    C(pipe(pipes));
    for (int i = 0; i < 5000; i++)
        buffer[i] = (char)pattern(i);
    C(write(pipes[1], buffer, 5000));
    C(splice(pipes[0], NULL, fd, NULL, 2000, 0));
    V(peer_receive(1, 2000, 0));
    C(splice(pipes[0], NULL, fd, NULL, 10000, SPLICE_F_MOVE | SPLICE_F_MORE));
    V(peer_receive(1, 3000, 2000));
    C(splice(pipes[0], NULL, fd, NULL, 100, SPLICE_F_NONBLOCK));
    C(splice(pipes[0], NULL, fd, NULL, 0, 0));
    C(splice(pipes[0], NULL, fd, NULL, 100, 0x1000));
    C(splice(pipes[0], &offset, fd, NULL, 100, 0));
    C(splice(pipes[0], NULL, fd, &offset, 100, 0));
    C(splice(fd, NULL, fd, NULL, 100, 0));
    C(splice(fd, NULL, file, NULL, 100, 0));
    C(splice(file, NULL, fd, NULL, 100, 0));
    C(splice(-1, NULL, fd, NULL, 100, 0));
    C(splice(pipes[1], NULL, fd, NULL, 100, 0));
    peer_send(1, 3000);
    settle();
    C(splice(fd, NULL, pipes[1], NULL, 1000, 0));
    C(read(pipes[0], buffer, 5000));
    V((unsigned char)buffer[999] == pattern(999));
    C(splice(fd, &offset, pipes[1], NULL, 1000, 0));
    C(splice(fd, NULL, pipes[1], &offset, 1000, 0));
    C(splice(fd, NULL, pipes[0], NULL, 1000, 0));
    C(splice(fd, NULL, pipes[1], NULL, 10000, SPLICE_F_NONBLOCK));
    C(read(pipes[0], buffer, 5000));
    V((unsigned char)buffer[1999] == pattern(2999));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    C(splice(fd, NULL, pipes[1], NULL, 10000, 0));
    fcntl(fd, F_SETFL, 0);
    // The pipe is full: nothing of the connection's is lost.
    fcntl(pipes[1], F_SETFL, O_NONBLOCK);
    while (write(pipes[1], buffer, 4096) > 0)
        continue;
    peer_send_text(1, "kept");
    settle();
    C(splice(fd, NULL, pipes[1], NULL, 100, SPLICE_F_NONBLOCK));
    C(recv(fd, buffer, 100, MSG_DONTWAIT));
    BYTES(buffer, 4);
    int broken[2];
    pipe(broken);
    close(broken[0]);
    peer_send_text(1, "kept");
    settle();
    C(splice(fd, NULL, broken[1], NULL, 100, 0));
    V(taken_signals());
    C(recv(fd, buffer, 100, MSG_DONTWAIT));
    close(broken[1]);
    peer_shutdown(1, SHUT_WR);
    settle();
    fcntl(pipes[0], F_SETFL, O_NONBLOCK);
    while (read(pipes[0], buffer, 65536) > 0)
        continue;
    C(splice(fd, NULL, pipes[1], NULL, 100, 0));
    close(pipes[0]);
    close(pipes[1]);
    pipe(pipes);
    close(pipes[1]);
    C(splice(pipes[0], NULL, fd, NULL, 100, 0));
    close(pipes[0]);
    pipe(pipes);
    write(pipes[1], "late", 4);
    shutdown(fd, SHUT_WR);
    C(splice(pipes[0], NULL, fd, NULL, 100, 0));
    V(taken_signals());
    close(pipes[0]);
    close(pipes[1]);
    close(file);
}

void files(enum kind kind) {
    int fd = connection(kind);
    sending_files(fd);
    end(fd);
    fd = connection(kind);
    splicing(fd);
    C(copy_file_range(fd, NULL, fd, NULL, 10, 0));
    C(tee(fd, fd, 10, 0));
    C(vmsplice(fd, &(struct iovec){buffer, 1}, 1, 0));
    end(fd);
}

static void stdio(int fd) {
    char line[64];
    FILE *file = fdopen(fd, "r+");
    V(file != NULL);
    C(fileno(file) == fd);
    C(fprintf(file, "%s %d\n", "a line", 42));
    C(fflush(file));
    V(peer_receive(1, 10, 0) == -EBADMSG);
    peer_send_text(1, "first\nsecond\n");
    settle();
    V(fgets(line, sizeof line, file) != NULL);
    BYTES(line, 6);
    V(fgets(line, sizeof line, file) != NULL);
    C(fseek(file, 0, SEEK_SET));
    C(ftell(file));
    setvbuf(file, NULL, _IONBF, 0);
    C(fputc('!', file));
    V(peer_receive(1, 1, 0) == -EBADMSG);
    peer_send_text(1, "z");
    peer_shutdown(1, SHUT_WR);
    settle();
    C(fgetc(file));
    C(fgetc(file));
    V(feof(file));
    C(fclose(file));
    C(fcntl(fd, F_GETFD));
    V(peer_drain(1));
    peer_close(1);
}

static void two_streams(int fd) {
    FILE *in = fdopen(dup(fd), "r"), *out = fdopen(fd, "w");
    char word[16] = "";
    setlinebuf(out);
    C(fputs("hello\n", out));
    V(peer_receive(1, 6, 0) == -EBADMSG);
    peer_send_text(1, "word rest");
    peer_shutdown(1, SHUT_WR);
    C(fscanf(in, "%15s", word));
    BYTES(word, 4);
    C(fwrite("unflushed", 1, 9, out));
    C(fclose(in));
    C(fclose(out));
    V(peer_drain(1));
    peer_close(1);
    errno = 0;
    V(fdopen(-1, "r") == NULL);
    V(errno);
}

static void formatted(int fd) {
    C(dprintf(fd, "%d-%s-%.1f", 5, "five", 5.5));
    V(peer_receive(1, 10, 0) == -EBADMSG);
}

static void reset_stream(int fd) {
    FILE *file = fdopen(fd, "r+");
    peer_reset(1);
    settle();
    C(fgetc(file));
    V(ferror(file));
    C(fclose(file));
}

static void raw(enum kind kind) {
    int fd = connection(kind), other, number = -1;
    struct iovec one = {buffer, 3};
    struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1};
    struct sockaddr_storage address;
    struct pollfd entry = {fd, POLLIN | POLLOUT, 0};
    struct epoll_event event = {EPOLLOUT, {.u64 = 4}};
    C(syscall(SYS_write, fd, "raw", 3));
    C(syscall(SYS_writev, fd, &one, 1));
    C(syscall(SYS_sendto, fd, "raw", 3, 0, NULL, 0));
    C(syscall(SYS_sendmsg, fd, &message, 0));
    V(peer_receive(1, 12, 0) == -EBADMSG);
    peer_send_text(1, "0123456789abcdef");
    settle();
    C(syscall(SYS_read, fd, buffer, 3));
    C(syscall(SYS_readv, fd, &one, 1));
    C(syscall(SYS_recvfrom, fd, buffer, 3, 0, NULL, NULL));
    C(syscall(SYS_recvmsg, fd, &message, 0));
    BYTES(buffer, 3);
    C(syscall(SYS_ioctl, fd, FIONREAD, &number));
    V(number);
    C(syscall(SYS_getpeername, fd, &address, &(socklen_t){sizeof address}));
    C(syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &number, &(socklen_t){4}));
    V(number);
    C(syscall(SYS_poll, &entry, 1, 0));
    V(entry.revents);
    F(other = (int)syscall(SYS_epoll_create1, 0));
    C(syscall(SYS_epoll_ctl, other, EPOLL_CTL_ADD, fd, &event));
    C(syscall(SYS_epoll_wait, other, &event, 1, 0));
    C(syscall(SYS_close, other));
    C(syscall(SYS_fcntl, fd, F_SETFL, O_NONBLOCK));
    C(syscall(SYS_read, fd, buffer, 100));
    C(syscall(SYS_read, fd, buffer, 100));
    F(other = (int)syscall(SYS_dup, fd));
    C(syscall(SYS_close, fd));
    C(syscall(SYS_read, other, buffer, 100));
    C(syscall(SYS_shutdown, other, SHUT_WR));
    C(syscall(SYS_close, other));
    C(syscall(SYS_close, other));
    V(peer_drain(1));
    peer_close(1);
    V(syscall(SYS_getpid) == getpid());
    C(syscall(99999, 1, 2, 3));
}

void streams(enum kind kind) {
    stdio(connection(kind));
    two_streams(connection(kind));
    int fd = connection(kind);
    formatted(fd);
    end(fd);
    reset_stream(connection(kind));
    raw(kind);
}

static int status_of(pid_t child) {
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// The connection serves the parent as before.
static void alive(int fd) {
    C(send(fd, "alive", 5, MSG_NOSIGNAL));
    V(peer_receive(1, 5, 0) == -EBADMSG);
    peer_send_text(1, "yes");
    settle();
    C(recv(fd, buffer, 10, MSG_DONTWAIT));
}

void processes(enum kind kind) {
    int fd = connection(kind);
    char *const arguments[] = {"true", NULL};
    pid_t child;
    extern char **environ;
    if ((child = fork()) == 0) {
        close(fd);
        _exit(3);
    }
    V(status_of(child));
    alive(fd);
    if ((child = fork()) == 0)
        exit(4);
    V(status_of(child));
    alive(fd);
    if ((child = vfork()) == 0) {
        close(fd);
        execv("/bin/true", arguments);
        _exit(5);
    }
    V(status_of(child));
    alive(fd);
    if ((child = vfork()) == 0) {
        dup2(fd, 0);
        dup2(open("/dev/null", O_RDWR), fd);
        _exit(6);
    }
    V(status_of(child));
    alive(fd);
    V(WEXITSTATUS(system("exit 7")));
    alive(fd);
    FILE *output = popen("echo piped", "r");
    V(fgets(buffer, 100, output) != NULL);
    BYTES(buffer, 5);
    C(pclose(output));
    alive(fd);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addclose(&actions, fd);
    C(posix_spawnp(&child, "true", &actions, NULL, arguments, environ));
    V(status_of(child));
    posix_spawn_file_actions_destroy(&actions);
    alive(fd);
    if ((child = fork()) == 0) {
        if (daemon(0, 0) == 0)
            _exit(0);
        _exit(8);
    }
    V(status_of(child));
    settle();
    alive(fd);
    C(execv("/nonexistent", arguments));
    C(execvp("nonexistent-program", arguments));
    alive(fd);
    C(close(fd));
    V(peer_drain(1));
    peer_close(1);
}
