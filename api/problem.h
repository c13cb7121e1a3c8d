/* Problems: the one table from which errors are answered (RFC 9457). */
#ifndef AFFECT_API_PROBLEM_H
#define AFFECT_API_PROBLEM_H

#include "engine/core/json.h"
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
/* The title of the first row with that status. */
const char *api_problem_title(int status);
/* {"type", "title", "status", "detail", "code"}; owned. */
affect_json *api_problem_json(const api_problem *problem, const char *detail);
/* {"errors": [{"pointer", "detail"}]} of the fields that the error names; owned, NULL when it names
 * none. */
affect_json *api_problem_errors(const affect_error *error);
/* The body for a refusal before there is an api_request, by its status.
 * Owned; NULL without memory. */
char *api_problem_text(int status);

/* Takes "FOLDER/" out of a text wherever it stands: answers name no path of this machine. */
void api_hide_folder(char *text, const char *folder);

#endif
