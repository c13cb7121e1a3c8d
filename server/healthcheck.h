/* `affectd --healthcheck`: queries /readyz of the server with these settings. */
#ifndef AFFECTD_SERVER_HEALTHCHECK_H
#define AFFECTD_SERVER_HEALTHCHECK_H

#include "api/settings.h"

/* 0 when GET /readyz answers 200 within 3 s; else 1, with the reason on stderr. For a listen
 * address of all interfaces, loopback is asked. */
int healthcheck_run(const api_settings *settings);

#endif
