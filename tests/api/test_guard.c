/* The raw-header guard: each kind of malformed request by its values alone. */
#include "engine/core/status.h"
#include "server/guard.c" /* pure functions: the test is the unit */
#include "tests/test.h"

/* Headers as pairs ended by NULL; the reason for which they are refused, or NULL. */
static const char *judge(const char *target, const char *version, const char *const *headers) {
    guard self = {0};
    guard_target(&self, target);
    for (; *headers; headers += 2) guard_header(&self, headers[0], headers[1], strlen(headers[1]));
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
    check_refused(judge("/", "HTTP/1.0", HEADERS("Transfer-Encoding", "chunked")), "HTTP/1.0");
    check_refused(judge("/", "HTTP/1.1", HEADERS("Host", "h", "", "x")), "name");
    check_refused(judge("/", "HTTP/1.1", HEADERS("Host", "h", "Content-Length", "3 4")), "number");
    static const char *const hosts[] = {"a/b",    "a@b", "",    "a b", "[::1",
                                        "[::1]x", "a:b", "[g]", ":80"};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++)
        check_refused(judge("/", "HTTP/1.1", HEADERS("Host", hosts[i])), "the Host is not");
    guard self = {0};
    guard_header(&self, "X", "a\0b", 3);
    CHECK_STRING(self.reason, "a NUL in a header");
}

static bool host_allowed(const char *host, const char *listen, const char *names) {
    guard self = {.host = host};
    return guard_host_allowed(&self, listen, names);
}

static void test_hosts(void) {
    static const char *const ours[] = {"localhost",      "LOCALHOST:80", "127.0.0.1:8080",
                                       "127.9.9.9",      "[::1]:1",      "localhost.",
                                       "affect.example", "b.example:443"};
    static const char *const others[] = {"evil.example",
                                         "localhost.evil.example",
                                         "127.0.0.1.evil.example",
                                         "affect.example.evil.example",
                                         "192.0.2.1",
                                         "[2001:db8::1]"};
    const char *names = "affect.example b.example";
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        CHECK(host_allowed(ours[i], "127.0.0.1:8080", names));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        CHECK(!host_allowed(others[i], "127.0.0.1:8080", names));
    CHECK(host_allowed("192.0.2.1:80", "0.0.0.0:8080", "") &&
          host_allowed("[2001:db8::1]", "[::]:1", ""));
    CHECK(host_allowed("192.0.2.1", "192.0.2.1:8080", "") && host_allowed(NULL, "127.0.0.1:1", ""));
    CHECK(!host_allowed("evil.example", "0.0.0.0:8080", ""));
}

static bool origin_allowed(const char *method, const char *origin) {
    guard self = {.host = "localhost:8080", .origin = origin};
    return guard_origin_allowed(&self, method);
}

static void test_origins(void) {
    CHECK(origin_allowed("GET", "https://evil.example") && origin_allowed("POST", NULL));
    CHECK(origin_allowed("POST", "http://localhost:8080"));
    CHECK(!origin_allowed("POST", "http://localhost:9090") && !origin_allowed("DELETE", "null"));
    CHECK(!origin_allowed("POST", "https://evil.example") && !origin_allowed("PUT", ""));
}

static void test_request_id(void) {
    CHECK(guard_request_id("abc-DEF_1.2"));
    CHECK(!guard_request_id("") && !guard_request_id("a b") && !guard_request_id("a\"b"));
    CHECK(!guard_request_id("0123456789012345678901234567890123456789012345678901234567890123456"));
}

int main(void) {
    TEST_RUN(test_accepts);
    TEST_RUN(test_refuses);
    TEST_RUN(test_hosts);
    TEST_RUN(test_origins);
    TEST_RUN(test_request_id);
    return TEST_END();
}
