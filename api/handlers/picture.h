/* What the handlers of pictures share: the client's choices, names of jobs, the answer. */
#ifndef AFFECT_HANDLERS_PICTURE_H
#define AFFECT_HANDLERS_PICTURE_H

#include "api/api.h"
#include "api/handlers/svg.h"

/* The rows of a route's queries that api_picture_style and api_picture_label read: title, width,
 * height, theme, ids. */
extern const char *const api_picture_themes[]; /* "light", "dark", NULL */
enum { API_PICTURE_WIDTH_MIN = 480, API_PICTURE_HEIGHT_MIN = 320, API_PICTURE_SIZE_MAX = 4000 };

api_svg_style api_picture_style(const api_request *request);
/* The name of a job in pictures, from its body: "first (paper-optimized)"; of a run "paper-base,
 * session-out, fold 2 of 5, seed 1"; with the query ids=true its id behind it. */
void api_picture_label(char *label, size_t size, const api_request *request,
                       const affect_json *body);
/* Answers with the document (the buffer's bytes are taken), or with the problem. */
void api_picture_answer(api_request *request, affect_status status, affect_buffer *svg,
                        const affect_error *error);

#endif
