/* Regular expressions by PCRE2; see pattern.h.
 *
 * Interpreted, not compiled to machine code: workers may map no memory that is executable. The
 * limits are of one match: 200 000 steps are a second at the very most, and names are short. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "engine/corpus/pattern.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STEPS = 200000, MAX_DEPTH = 10000, MAX_HEAP_KIB = 4096 };

struct affect_pattern {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *limits;
    const char *subject; /* of the last match */
    const unsigned char *names;
    uint32_t n_names, name_size;
    char group[AFFECT_PATTERN_MAX_GROUP + 1];
};

affect_status affect_pattern_create(affect_pattern **pattern, const char *expression,
                                    affect_error *err) {
    int code = 0;
    PCRE2_SIZE offset = 0;
    PCRE2_UCHAR message[128];
    if (strlen(expression) > AFFECT_PATTERN_MAX_BYTES)
        return affect_fail(err, INVALID, "the expression is longer than %d bytes",
                           AFFECT_PATTERN_MAX_BYTES);
    affect_pattern *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "no memory for an expression");
    made->code = pcre2_compile((PCRE2_SPTR)expression, PCRE2_ZERO_TERMINATED,
                               PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &code, &offset, NULL);
    if (!made->code) {
        pcre2_get_error_message(code, message, sizeof message);
        affect_pattern_free(made);
        return affect_fail(err, INVALID, "the expression is wrong at byte %zu: %s", offset,
                           (const char *)message);
    }
    made->data = pcre2_match_data_create_from_pattern(made->code, NULL);
    made->limits = pcre2_match_context_create(NULL);
    if (!made->data || !made->limits) {
        affect_pattern_free(made);
        return affect_fail(err, NO_MEMORY, "no memory for an expression");
    }
    pcre2_set_match_limit(made->limits, MAX_STEPS);
    pcre2_set_depth_limit(made->limits, MAX_DEPTH);
    pcre2_set_heap_limit(made->limits, MAX_HEAP_KIB);
    pcre2_pattern_info(made->code, PCRE2_INFO_NAMECOUNT, &made->n_names);
    pcre2_pattern_info(made->code, PCRE2_INFO_NAMEENTRYSIZE, &made->name_size);
    pcre2_pattern_info(made->code, PCRE2_INFO_NAMETABLE, &made->names);
    *pattern = made;
    return AFFECT_STATUS_OK;
}

void affect_pattern_free(affect_pattern *pattern) {
    if (!pattern) return;
    pcre2_match_data_free(pattern->data);
    pcre2_match_context_free(pattern->limits);
    pcre2_code_free(pattern->code);
    free(pattern);
}

affect_status affect_pattern_match(bool *matches, affect_pattern *pattern, const char *text,
                                   affect_error *err) {
    int n = pcre2_match(pattern->code, (PCRE2_SPTR)text, strlen(text), 0, 0, pattern->data,
                        pattern->limits);
    PCRE2_UCHAR message[128];
    pattern->subject = text;
    *matches = n >= 0;
    if (n >= 0 || n == PCRE2_ERROR_NOMATCH) return AFFECT_STATUS_OK;
    if (n <= PCRE2_ERROR_UTF8_ERR1 && n >= PCRE2_ERROR_UTF8_ERR21) return AFFECT_STATUS_OK;
    pcre2_get_error_message(n, message, sizeof message);
    return affect_fail(err, INVALID, "the expression cannot be matched with \"%.100s\": %s", text,
                       (const char *)message);
}

size_t affect_pattern_n_groups(const affect_pattern *pattern) {
    return pattern->n_names;
}

/* An entry of PCRE2's table: the group's number in two bytes, its name, a 0. */
const char *affect_pattern_group_name(const affect_pattern *pattern, size_t index) {
    return (const char *)pattern->names + index * pattern->name_size + 2;
}

const char *affect_pattern_group(affect_pattern *pattern, size_t index) {
    const unsigned char *entry = pattern->names + index * pattern->name_size;
    size_t group = (size_t)entry[0] << 8 | entry[1];
    const PCRE2_SIZE *places = pcre2_get_ovector_pointer(pattern->data);
    PCRE2_SIZE begin = places[2 * group], end = places[2 * group + 1];
    size_t n = begin == PCRE2_UNSET || end < begin ? 0 : end - begin;
    if (n > AFFECT_PATTERN_MAX_GROUP) n = AFFECT_PATTERN_MAX_GROUP;
    if (n) memcpy(pattern->group, pattern->subject + begin, n);
    pattern->group[n] = '\0';
    return pattern->group;
}
