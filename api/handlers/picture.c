/* What the handlers of pictures share; see picture.h. Pictures follow from the store and are not
 * kept: a client asks again whether one has changed. */
#include "api/handlers/picture.h"

#include <stdio.h>
#include <string.h>

const char *const api_picture_themes[] = {"light", "dark", NULL};

api_svg_style api_picture_style(const api_request *request) {
    const char *theme = api_query(request, "theme");
    return (api_svg_style){
        .title = api_query(request, "title"),
        .width = api_query(request, "width") ? (int)api_query_integer(request, "width") : 0,
        .height = api_query(request, "height") ? (int)api_query_integer(request, "height") : 0,
        .is_dark = theme && strcmp(theme, api_picture_themes[1]) == 0};
}

/* Of a request: a preset's name, or that of the document; "" where a job has none. */
static const char *architecture_of(const affect_json *request) {
    const affect_json *architecture = affect_json_get(request, "architecture");
    if (affect_json_is_string(architecture)) return affect_json_string(architecture, "");
    if (architecture) return affect_json_get_string(architecture, "name", "inline");
    return affect_json_get_string(request, "part", NULL) ? "" : "paper-optimized";
}

void api_picture_label(char *label, size_t size, const api_request *request,
                       const affect_json *body) {
    const affect_json *asked = affect_json_get(body, "request"),
                      *run = affect_json_get(body, "run");
    const char *architecture = architecture_of(asked);
    int n;
    if (affect_json_is_object(run)) {
        char fold[64] = "";
        if (affect_json_get(run, "fold"))
            snprintf(fold, sizeof fold, "fold %.0f of %.0f, ",
                     affect_json_get_number(run, "fold", 0) + 1,
                     affect_json_get_number(run, "n_folds", 0));
        n = snprintf(label, size, "%.100s, %.100s, %sseed %.0f", architecture,
                     affect_json_get_string(run, "split", ""), fold,
                     affect_json_get_number(run, "seed", 0));
    } else {
        n = snprintf(label, size, *architecture ? "%.100s (%.100s)" : "%.100s",
                     affect_json_get_string(asked, "model", ""), architecture);
    }
    if (api_query_bool(request, "ids") && n > 0 && (size_t)n < size)
        snprintf(label + n, size - (size_t)n, ", %s", affect_json_get_string(body, "id", ""));
}

void api_picture_answer(api_request *request, affect_status status, affect_buffer *svg,
                        const affect_error *error) {
    if (status == AFFECT_STATUS_OK) {
        api_set_header(request, "Cache-Control", "no-cache");
        api_answer_buffer(request, 200, "image/svg+xml", svg);
        return;
    }
    affect_buffer_free(svg);
    api_answer_error(request, error);
}
