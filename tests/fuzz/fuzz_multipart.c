/* Multipart bodies of boundary "xyz" to the whole server; the first byte chooses route and framing.
 */
#include "tests/fuzz/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char head[256];
    if (size < 1) return 0;
    int n = snprintf(
        head, sizeof head,
        "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=xyz\r\n"
        "Content-Length: %zu\r\n\r\n",
        *data & 1 ? "/v1/datasets" : "/v1/predictions", size - 1);
    const size_t cut = *data % 16 && size > *data % 16u ? *data % 16u : 1; /* in two writes */
    int status = fuzz_exchange((const void *const[]){head, data + 1, data + cut},
                               (const size_t[]){(size_t)n, cut - 1, size - cut}, 3, true);
    FUZZ_CHECK(status != 0);
    return 0;
}
