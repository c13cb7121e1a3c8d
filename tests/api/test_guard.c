/* The raw-header guard: each kind of malformed request by its values alone. */
#include "engine/core/status.h"
#include "server/guard.c" /* pure functions: the test is the unit */
#include "tests/test.h"

/* Headers as pairs ended by NULL; the reason for which they are refused, or NULL. */
static const char *judge(const char *target, const char *version, const char *const *headers) {
    guard self = {0};
    guard_target(&self, target);
    for (; *headers; headers += 2) guard_header(&self, headers[0], headers[1]);
    return guard_end(&self, version);
}

#define HEADERS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_accepts(void) {
    CHECK(!judge("/v1/jobs?after=3", "HTTP/1.1", HEADERS("Host", "h", "Content-Length", "12")));
    CHECK(!judge("/a%20b", "HTTP/1.1", HEADERS("host", "h", "Transfer-Encoding", "chunked")));
    CHECK(!judge("/", "HTTP/1.0", HEADERS("Accept", "*/*")));
}

static void check_refused(const char *reason, const char *part) {
    CHECK(reason != NULL && strstr(reason, part) != NULL);
}

static void test_refuses(void) {
    check_refused(
        judge("/", "HTTP/1.1",
              HEADERS("Host", "h", "Content-Length", "3", "Transfer-Encoding", "chunked")),
        "together");
    check_refused(
        judge("/", "HTTP/1.1", HEADERS("Host", "h", "Content-Length", "3", "content-length", "3")),
        "more than one Content-Length");
    check_refused(judge("/", "HTTP/1.1", HEADERS("Host", "h", "Content-Length ", "3")), "name");
    check_refused(judge("/", "HTTP/1.1", HEADERS("Host", "h", "Content-Length", "+3")), "number");
    check_refused(judge("/", "HTTP/1.1", HEADERS("Host", "h", "Content-Length", "3, 3")), "number");
    check_refused(judge("/", "HTTP/1.1", HEADERS("Host", "h", "Transfer-Encoding", "gzip")),
                  "chunked");
    check_refused(judge("/", "HTTP/1.1", HEADERS("Accept", "*/*")), "Host is missing");
    check_refused(judge("/", "HTTP/1.1", HEADERS("Host", "a", "Host", "b")), "one Host");
    check_refused(judge("/a%00b", "HTTP/1.1", HEADERS("Host", "h")), "%00");
    check_refused(judge("/a%zz", "HTTP/1.1", HEADERS("Host", "h")), "escape");
    check_refused(judge("/a\x01", "HTTP/1.1", HEADERS("Host", "h")), "control");
    check_refused(judge("http://x/", "HTTP/1.1", HEADERS("Host", "h")), "begin with /");
    check_refused(judge("/", "HTTP/1.1", HEADERS("Host", "h", "X", "a\x01z")), "control");
}

static void test_request_id(void) {
    CHECK(guard_request_id("abc-DEF_1.2"));
    CHECK(!guard_request_id("") && !guard_request_id("a b") && !guard_request_id("a\"b"));
    CHECK(!guard_request_id("0123456789012345678901234567890123456789012345678901234567890123456"));
}

int main(void) {
    TEST_RUN(test_accepts);
    TEST_RUN(test_refuses);
    TEST_RUN(test_request_id);
    return TEST_END();
}
