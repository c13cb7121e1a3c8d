/* Headers Range, If-Range, If-None-Match and If-Match, a line each, on a file of ten bytes: the
 * answer is whole, a part that lies in the file and is described rightly, or a refusal. */
#include "api/exchange.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define ETAG "0123456789abcdef"

static int n_answers;

static void on_answered(api_exchange *exchange) {
    (void)exchange;
    n_answers++;
}

static void check(const api_exchange *exchange) {
    const api_answer *answer = &exchange->answer;
    char want[64];
    const char *range = api_pairs_find(&answer->headers, "Content-Range", true);
    switch (answer->status) {
    case 200:
        FUZZ_CHECK(answer->file_offset == 0 && answer->file_size == 10 && !range);
        break;
    case 206:
        FUZZ_CHECK(answer->file_size > 0 && answer->file_offset + answer->file_size <= 10);
        snprintf(want, sizeof want, "bytes %d-%d/10", (int)answer->file_offset,
                 (int)(answer->file_offset + answer->file_size) - 1);
        FUZZ_CHECK(range && strcmp(range, want) == 0);
        break;
    case 416:
        FUZZ_CHECK(range && strcmp(range, "bytes */10") == 0);
        break;
    default:
        FUZZ_CHECK(answer->status == 304 || answer->status == 400 || answer->status == 412);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"Range", "If-Range", "If-None-Match", "If-Match"};
    static const api_transport transport = {on_answered, on_answered};
    char path[64], *text = malloc(size + 1), *line = text, *rest = NULL;
    api_exchange *exchange = api_exchange_create(NULL, &transport);
    FUZZ_CHECK(text && exchange);
    memcpy(text, data, size);
    text[size] = '\0';
    for (size_t i = 0; i < 4 && line; i++, line = rest) {
        rest = strchr(line, '\n');
        if (rest) *rest++ = '\0';
        if (*line) FUZZ_CHECK(api_pairs_add(&exchange->headers, names[i], line));
    }
    int fd = fuzz_file(path, (const uint8_t *)"0123456789", 10);
    n_answers = 0;
    snprintf(exchange->method, sizeof exchange->method, "GET");
    api_answer_file(exchange, path, "text/plain", ETAG, NULL);
    FUZZ_CHECK(n_answers == 1);
    check(exchange);
    close(fd);
    api_exchange_free(exchange);
    free(text);
    return 0;
}
