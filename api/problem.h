/* Problems: the one table from which errors are answered (RFC 9457). */
#ifndef AFFECT_API_PROBLEM_H
#define AFFECT_API_PROBLEM_H

#include "engine/core/status.h"

typedef struct {
    const char *code; /* for programs */
    int status;       /* of HTTP */
    const char *title;
} api_problem;

/* The row of that code; an unknown code is a bug and gives "internal". Borrowed for ever. */
const api_problem *api_problem_find(const char *code);
/* The row for a status of the engine that reaches a client. */
const api_problem *api_problem_of_status(affect_status status);
/* The body for a request that was refused before there was an exchange, by its status.
 * Owned; NULL without memory. */
char *api_problem_text(int status);

/* Takes "FOLDER/" out of a text wherever it stands: answers name no path of this machine. */
void api_hide_folder(char *text, const char *folder);

#endif
