/* Asking a running server; see healthcheck.h. */
#include "server/healthcheck.h"

#include "server/address.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int fail(const char *reason) {
    fprintf(stderr, "affectd: %s\n", reason);
    return 1;
}

static int query_ready(int fd) {
    static const char request[] = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n"
                                  "Connection: close\r\n\r\n";
    char answer[256];
    size_t n = 0;
    if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0) return fail("cannot send");
    while (n < sizeof answer - 1) {
        ssize_t got = recv(fd, answer + n, sizeof answer - 1 - n, 0);
        if (got <= 0) break;
        n += (size_t)got;
    }
    answer[n] = '\0';
    return strncmp(answer, "HTTP/1.1 200", 12) == 0 ? 0 : fail("not ready");
}

int healthcheck_run(const api_settings *settings) {
    struct addrinfo *address = NULL; /* connecting to "any" address reaches this machine */
    if (address_resolve(&address, settings->listen, NULL) != AFFECT_STATUS_OK)
        return fail("cannot resolve listen");
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), code;
    struct timeval limit = {.tv_sec = 3};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (fd < 0 || connect(fd, address->ai_addr, address->ai_addrlen) != 0)
        code = fail("no server listens");
    else
        code = query_ready(fd);
    freeaddrinfo(address);
    if (fd >= 0) close(fd);
    return code;
}
