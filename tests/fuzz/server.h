/* affectd in this process, for targets that talk to it: main.c's own start and stop, a data folder
 * that goes with the process, and a worker that ends at once. Requests that wait are given half a
 * second. */
#ifndef AFFECT_TESTS_FUZZ_SERVER_H
#define AFFECT_TESTS_FUZZ_SERVER_H

#include "tests/fuzz/fuzz.h"

int affectd_main(int argc, char **argv);
#define main affectd_main
#include "server/main.c" /* its parts are the fixture */
#undef main

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#define FUZZ_HANG_SECONDS 20

static service fuzz_service = {.lock = -1};

static void fuzz_server_stop(void) {
    stop(&fuzz_service);
}

/* Starts it at the first call; its port. */
static inline int fuzz_server(void) {
    static int port;
    if (port) return port;
    char data[AFFECT_PATH_MAX];
    affect_error err = {0};
    config_command command;
    snprintf(data, sizeof data, "%s/data", fuzz_folder());
    char *arguments[] = {(char[]){"affectd"},
                         (char[]){"--data"},
                         data,
                         (char[]){"--listen"},
                         (char[]){"127.0.0.1:0"},
                         (char[]){"--set"},
                         (char[]){"worker_binary=/bin/true"},
                         (char[]){"--set"},
                         (char[]){"log_level=error"},
                         (char[]){"--set"},
                         (char[]){"header_timeout_seconds=0.5"},
                         (char[]){"--set"},
                         (char[]){"body_timeout_seconds=0.5"},
                         (char[]){"--set"},
                         (char[]){"min_body_bytes_per_second=1000000000"},
                         (char[]){"--set"},
                         (char[]){"drain_seconds=1"},
                         (char[]){"--set"},
                         (char[]){"idle_timeout_seconds=1"},
                         NULL};
    signal(SIGPIPE, SIG_IGN);
    affect_status status = config_load(&fuzz_service.settings, &command,
                                       sizeof arguments / sizeof *arguments - 1, arguments, &err);
    if (status == AFFECT_STATUS_OK) status = start(&fuzz_service, &err);
    if (status != AFFECT_STATUS_OK) fprintf(stderr, "%s\n", err.message);
    FUZZ_CHECK(status == AFFECT_STATUS_OK && api_log_set_level("error"));
    atexit(fuzz_server_stop);
    return port = http_server_port(fuzz_service.http);
}

/* Whether the answer in text has all its bytes; of what has no announced length nothing tells. */
static inline bool fuzz_is_whole(const char *text, size_t size, bool headers_only) {
    const char *end = strstr(text, "\r\n\r\n"), *length = strcasestr(text, "\r\nContent-Length:");
    if (!end || strncmp(text, "HTTP/1.1 100", 12) == 0) return false;
    if (headers_only) return true;
    return length && length < end &&
           (size_t)(end + 4 - text) + strtoull(length + 17, NULL, 10) <= size;
}

/* The alarm of libFuzzer interrupts, and a fast campaign runs out of ports for a moment. */
static inline int fuzz_connect(const struct sockaddr_in *address) {
    for (int i = 0;; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        FUZZ_CHECK(fd >= 0);
        if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0) return fd;
        FUZZ_CHECK((errno == EINTR || errno == EADDRNOTAVAIL) && i < FUZZ_HANG_SECONDS * 10);
        close(fd);
        usleep(100000);
    }
}

/* Sends the pieces on a connection of their own; without `whole` nothing more will come and the
 * server is told so. Reads one answer, or until the server closes. Its status, 0 when there was
 * none. */
static inline int fuzz_exchange(const void *const pieces[], const size_t sizes[], size_t n,
                                bool whole) {
    static char answer[1 << 16];
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)fuzz_server()),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const struct linger reset = {.l_onoff = 1}; /* no port is kept waiting */
    bool headers_only = sizes[0] > 5 && memcmp(pieces[0], "HEAD ", 5) == 0;
    int fd = fuzz_connect(&address);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    for (size_t i = 0; i < n; i++)
        if (sizes[i] && send(fd, pieces[i], sizes[i], MSG_NOSIGNAL) < 0)
            break; /* refused before its end */
    if (!whole) shutdown(fd, SHUT_WR);
    size_t used = 0;
    while (used < sizeof answer - 1) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        int ready = poll(&poll_fd, 1, FUZZ_HANG_SECONDS * 1000);
        if (ready < 0 && errno == EINTR) continue; /* libFuzzer's alarm */
        FUZZ_CHECK(ready == 1);
        ssize_t got = recv(fd, answer + used, sizeof answer - 1 - used, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        used += (size_t)got;
        answer[used] = '\0';
        if (fuzz_is_whole(answer, used, headers_only)) break;
    }
    close(fd);
    answer[used] = '\0';
    int status = 0;
    if (used) FUZZ_CHECK(sscanf(answer, "HTTP/1.%*1[01] %3d ", &status) == 1);
    FUZZ_CHECK(status != 500);
    return status;
}

#endif
