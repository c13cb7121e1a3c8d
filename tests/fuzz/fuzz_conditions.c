/* Headers Range, If-Range, If-None-Match and If-Match, a line each, on a file of ten bytes: the
 * answer is whole, a part that lies in the file and is described rightly, or a refusal. */
#include "api/request.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define ETAG "0123456789abcdef"

static int n_answers;

static void on_answered(api_request *request) {
    (void)request;
    n_answers++;
}

static void check(const api_request *request) {
    const api_answer *answer = &request->answer;
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
    api_request *request = api_request_create(NULL, &transport);
    FUZZ_CHECK(text && request);
    memcpy(text, data, size);
    text[size] = '\0';
    for (size_t i = 0; i < 4 && line; i++, line = rest) {
        rest = strchr(line, '\n');
        if (rest) *rest++ = '\0';
        if (*line) FUZZ_CHECK(api_pairs_add(&request->headers, names[i], line));
    }
    int fd = fuzz_file(path, (const uint8_t *)"0123456789", 10);
    n_answers = 0;
    snprintf(request->method, sizeof request->method, "GET");
    api_answer_file(request, path, "text/plain", ETAG, NULL);
    FUZZ_CHECK(n_answers == 1);
    check(request);
    close(fd);
    api_request_free(request);
    free(text);
    return 0;
}
