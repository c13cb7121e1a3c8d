/* The contract, GET /openapi.json: OpenAPI 3.1 made of the tables that the program runs on.
 *
 * Paths, queries, headers and statuses come from routes.c; bodies from the field tables that read
 * them (api_describe_* of the handlers); answers from answers.json, the one part that is written by
 * hand and that tests/service/test_contract.py holds to real answers. `affectd --contract` prints
 * it; the build keeps it as openapi.json. */
#ifndef AFFECT_API_CONTRACT_H
#define AFFECT_API_CONTRACT_H

#include "engine/core/json.h"

/* Owned. INTERNAL when answers.json cannot be read or a row names an answer that it lacks. */
affect_status api_contract_make(affect_json **contract, affect_error *err);

#endif
