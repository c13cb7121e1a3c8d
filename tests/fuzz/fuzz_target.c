/* Request targets through guard and decoder: what both accept has a path and queries without
 * control bytes, and the decoded path, encoded again, decodes to itself. */
#include "api/request.h"
#include "server/guard.c" /* pure functions */
#include "tests/fuzz/fuzz.h"

static void check_text(const char *text) {
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) FUZZ_CHECK(*c != 0);
}

static void check_again(const char *path) {
    api_request *request = api_request_create(NULL, NULL);
    size_t n = strlen(path);
    char *target = malloc(3 * n + 1), *to = target;
    FUZZ_CHECK(request && target);
    for (size_t i = 0; i < n; i++)
        to += sprintf(to, path[i] == '/' ? "/" : "%%%02X", (unsigned char)path[i]);
    *to = '\0';
    guard again = {0};
    guard_target(&again, target);
    FUZZ_CHECK(!again.reason && api_request_set_target(request, target));
    FUZZ_CHECK(strcmp(request->path, path) == 0);
    free(target);
    api_request_free(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *target = malloc(size + 1);
    guard self = {0};
    FUZZ_CHECK(target != NULL);
    memcpy(target, data, size);
    target[size] = '\0';
    guard_target(&self, target);
    api_request *request = api_request_create(NULL, NULL);
    FUZZ_CHECK(request != NULL);
    if (!self.reason && api_request_set_target(request, target)) {
        FUZZ_CHECK(request->path[0] == '/' && strlen(request->path) <= strlen(target));
        for (size_t i = 0; i < request->queries.n; i++) {
            check_text(request->queries.items[i].name);
            check_text(request->queries.items[i].value);
        }
        check_again(request->path);
    }
    api_request_free(request);
    free(target);
    return 0;
}
