/* The table of endpoints and how a request finds its row. */
#ifndef AFFECT_API_ROUTES_H
#define AFFECT_API_ROUTES_H

#include "api/api.h"

/* Ended by a row whose method is NULL. */
extern const api_route api_routes[];

/* Finds the row for the request's method and path, sets request->route and its path values.
 * False: already answered (404, or 405 with Allow). HEAD finds GET's row. */
bool api_route_find(api_request *request);
/* Whether its handler waits for nothing, so that it may run on an HTTP thread whatever the
 * handlers' threads do: liveness. */
bool api_route_is_immediate(const api_route *route);
/* Checks queries and what the headers say of the body (kind, length) against the row; sets
 * request->body_kind. *limit becomes the largest body allowed. False: already answered. */
bool api_route_check(api_request *request, uint64_t *limit);

#endif
