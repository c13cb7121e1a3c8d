/* The address that the setting `listen` names. */
#ifndef AFFECTD_SERVER_ADDRESS_H
#define AFFECTD_SERVER_ADDRESS_H

#include "engine/core/status.h"

#include <netdb.h>
#include <stdbool.h>

/* "HOST:PORT", "[V6]:PORT" with a port of 0..65535; *address is owned (freeaddrinfo). INVALID names
 * what is wrong. */
affect_status address_resolve(struct addrinfo **address, const char *listen, affect_error *err);
bool address_is_loopback(const struct sockaddr *address);

#endif
