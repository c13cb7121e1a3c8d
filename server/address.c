/* Addresses; see address.h. */
#include "server/address.h"

#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

affect_status address_resolve(struct addrinfo **address, const char *listen, affect_error *err) {
    char host[128];
    const char *colon = strrchr(listen, ':');
    if (!colon || colon == listen)
        return affect_fail(err, INVALID, "listen: \"%s\" is not HOST:PORT", listen);
    const char *from = listen;
    size_t size = (size_t)(colon - listen);
    if (*from == '[' && from[size - 1] == ']') from++, size -= 2;
    snprintf(host, sizeof host, "%.*s", (int)size, from);
    const char *port = colon + 1;
    size_t digits = strspn(port, "0123456789");
    if (!digits || port[digits] || digits > 5 || atoi(port) > 65535)
        return affect_fail(err, INVALID, "listen: \"%s\": the port must be 0..65535", listen);
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    int failure = getaddrinfo(host, colon + 1, &hints, address);
    if (failure)
        return affect_fail(err, INVALID, "listen: \"%s\": %s", listen, gai_strerror(failure));
    return AFFECT_STATUS_OK;
}

bool address_is_loopback(const struct sockaddr *address) {
    if (address->sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
    uint32_t ip = ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr);
    return ip >> 24 == 127;
}
