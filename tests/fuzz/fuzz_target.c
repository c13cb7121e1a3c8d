/* Request targets through guard and decoder: what both accept has a path and queries without
 * control bytes, and the decoded path, encoded again, decodes to itself. */
#include "api/exchange.h"
#include "server/guard.c" /* pure functions */
#include "tests/fuzz/fuzz.h"

static void check_text(const char *text) {
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) FUZZ_CHECK(*c != 0);
}

static void check_again(const char *path) {
    api_exchange *exchange = api_exchange_create(NULL, NULL);
    size_t n = strlen(path);
    char *target = malloc(3 * n + 1), *to = target;
    FUZZ_CHECK(exchange && target);
    for (size_t i = 0; i < n; i++)
        to += sprintf(to, path[i] == '/' ? "/" : "%%%02X", (unsigned char)path[i]);
    *to = '\0';
    guard again = {0};
    guard_target(&again, target);
    FUZZ_CHECK(!again.reason && api_exchange_set_target(exchange, target));
    FUZZ_CHECK(strcmp(exchange->path, path) == 0);
    free(target);
    api_exchange_free(exchange);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *target = malloc(size + 1);
    guard self = {0};
    FUZZ_CHECK(target != NULL);
    memcpy(target, data, size);
    target[size] = '\0';
    guard_target(&self, target);
    api_exchange *exchange = api_exchange_create(NULL, NULL);
    FUZZ_CHECK(exchange != NULL);
    if (!self.reason && api_exchange_set_target(exchange, target)) {
        FUZZ_CHECK(exchange->path[0] == '/' && strlen(exchange->path) <= strlen(target));
        for (size_t i = 0; i < exchange->queries.n; i++) {
            check_text(exchange->queries.items[i].name);
            check_text(exchange->queries.items[i].value);
        }
        check_again(exchange->path);
    }
    api_exchange_free(exchange);
    free(target);
    return 0;
}
