// Connects to itself and closes both ends, over and over; prints how much memory it
// has after a tenth of the cycles and after all.
//
//   cycles COUNT
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

// Resident pages, by /proc/self/statm.
static long resident(void) {
    long size, pages;
    FILE *file = fopen("/proc/self/statm", "r");
    if (fscanf(file, "%ld %ld", &size, &pages) != 2)
        exit(1);
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void fail(const char *what, long nth) {
    fprintf(stderr, "cycle %ld: ", nth);
    perror(what);
    exit(1);
}

int main(int argc, char **argv) {
    long count = argc > 1 ? atol(argv[1]) : 1;
    struct sockaddr_in name = {AF_INET, htons(7100), {htonl(INADDR_LOOPBACK)}, {0}};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    char byte = 'x';
    if (bind(listener, (struct sockaddr *)&name, sizeof name) || listen(listener, 8))
        fail("listen", 0);
    for (long nth = 1; nth <= count; nth++) {
        int client = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(client, (struct sockaddr *)&name, sizeof name))
            fail("connect", nth);
        int server = accept(listener, NULL, NULL);
        if (server < 0)
            fail("accept", nth);
        // Sometimes with data, sometimes unread, sometimes reset, from either side.
        if (nth % 4 == 0 && send(client, &byte, 1, 0) != 1)
            fail("send", nth);
        if (nth % 8 == 0 && recv(server, &byte, 1, 0) != 1)
            fail("recv", nth);
        int first = nth % 2 ? client : server, second = nth % 2 ? server : client;
        if (nth % 16 == 1)
            setsockopt(first, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
        if (close(first) || close(second))
            fail("close", nth);
        if (nth == (count + 9) / 10 || nth == count) {
            printf("%ld cycles: %ld KiB\n", nth, resident());
            fflush(stdout);
        }
    }
    printf("closed\n");
    fflush(stdout);
    sleep(getenv("TPA_TEST_STAY") ? 30 : 0);
    return 0;
}
