/* A connection's bytes to the whole server: target, headers, guard, routes, bodies. Every input is
 * answered or cut. */
#include "tests/fuzz/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_exchange((const void *const[]){data}, &size, 1, false);
    return 0;
}
