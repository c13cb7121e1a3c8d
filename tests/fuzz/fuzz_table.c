/* CSV and TSV rows: any bytes give rows within the text or errors, line by line; and a user's
 * pattern over a name. */
#include "engine/core/csv.h"
#include "engine/corpus/pattern.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void try_pattern(const char *text) {
    const char *name = strchr(text, '\n');
    char expression[300], subject[300];
    affect_pattern *pattern = NULL;
    bool matches = false;
    if (!name) return;
    snprintf(expression, sizeof expression, "%.*s", (int)(name - text < 299 ? name - text : 299),
             text);
    snprintf(subject, sizeof subject, "%.299s", name + 1);
    if (affect_pattern_create(&pattern, expression, NULL) != AFFECT_STATUS_OK) return;
    if (affect_pattern_match(&matches, pattern, subject, NULL) == AFFECT_STATUS_OK && matches)
        for (size_t i = 0; i < affect_pattern_n_groups(pattern); i++)
            FUZZ_CHECK(strlen(affect_pattern_group(pattern, i)) <= strlen(subject));
    affect_pattern_free(pattern);
}

static void read_rows(const char *text, size_t size) {
    affect_csv csv;
    size_t n_rows = 0, last = 0;
    affect_csv_begin(&csv, text, size, size && text[0] == '\t' ? '\t' : ',');
    for (bool more = true;; n_rows++) {
        affect_status status = affect_csv_next(&csv, &more, NULL);
        if (status == AFFECT_STATUS_OK && !more) break;
        FUZZ_CHECK(csv.line > last && n_rows <= size);
        last = csv.line;
        size_t n_bytes = 0;
        for (size_t i = 0; status == AFFECT_STATUS_OK && i < csv.n; i++)
            n_bytes += strlen(csv.cells[i]);
        FUZZ_CHECK(n_bytes <= size);
    }
    affect_csv_end(&csv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *exact = malloc(size ? size : 1), *text = malloc(size + 1);
    FUZZ_CHECK(exact && text);
    memcpy(exact, data, size); /* without a 0 behind it */
    memcpy(text, data, size);
    text[size] = '\0';
    read_rows(exact, size);
    try_pattern(text);
    free(exact);
    free(text);
    return 0;
}
