/* Documents: served while the store stays as it was, and never after a commit or during one. */
#include "api/documents.h"
#include "api/request.h"
#include "api/store/store_sqlite.h"
#include "engine/core/file.h"
#include "tests/test.h"

#include <pthread.h>
#include <unistd.h>

static char folder[] = "/tmp/affect-documents-XXXXXX";
static api_context context;

static void on_answered(api_request *request) {
    (void)request;
}

static const api_transport transport = {on_answered, NULL};

static api_request *make_request(const char *method, const char *target) {
    api_request *request = api_request_create(&context, &transport);
    snprintf(request->method, sizeof request->method, "%s", method);
    CHECK(api_request_set_target(request, target));
    return request;
}

static void answer(api_request *request, const char *text) {
    affect_json *json = affect_json_new_object();
    affect_json_set_string(json, "text", text);
    api_answer_document(request, AFFECT_STATUS_OK, json, NULL);
}

/* Asks; on a miss the "handler" answers `text`. Whether it was a hit, and that the answer is right.
 */
static bool ask(const char *method, const char *target, const char *header, const char *text) {
    api_request *request = make_request(method, target);
    char want[64];
    if (header) api_pairs_add(&request->headers, header, "\"1\"");
    bool hit = api_documents_answer(request);
    if (!hit) {
        api_set_header(request, "ETag", "\"7\"");
        answer(request, text);
    }
    snprintf(want, sizeof want, "{\"text\":\"%s\"}\n", text);
    affect_buffer_append(&request->answer.body, "", 1);
    CHECK_STRING(request->answer.body.data, want);
    CHECK(request->answer.status == 200);
    CHECK_STRING(api_pairs_find(&request->answer.headers, "ETag", true), "\"7\"");
    CHECK_STRING(api_pairs_find(&request->answer.headers, "Content-Type", true),
                 "application/json");
    api_request_free(request);
    return hit;
}

static affect_status change(api_db *db, void *unused, affect_error *err) {
    (void)unused;
    return api_db_run(db, err, "UPDATE models SET latest = 1", "");
}

static void test_until_the_next_commit(void) {
    CHECK(!ask("GET", "/a", NULL, "one"));
    CHECK(ask("GET", "/a", NULL, "one") && ask("HEAD", "/a", NULL, "one"));
    CHECK(!ask("GET", "/b", NULL, "other"));
    CHECK(!ask("GET", "/a?x=1", NULL, "query") && !ask("GET", "/a?x=1", NULL, "query2"));
    CHECK(!ask("GET", "/a", "If-None-Match", "n") && !ask("GET", "/a", "if-match", "m"));
    CHECK(!ask("POST", "/a", NULL, "post"));
    CHECK(ask("GET", "/a", NULL, "one"));
    CHECK_OK(api_store_write(context.store, change, NULL, NULL, err));
    CHECK(!ask("GET", "/a", NULL, "two") && ask("GET", "/a", NULL, "two"));
}

/* What was read before a commit and is answered after it is not served to others. */
static void test_made_before_a_commit(void) {
    api_request *slow = make_request("GET", "/slow");
    CHECK(!api_documents_answer(slow));
    CHECK_OK(api_store_write(context.store, change, NULL, NULL, err));
    answer(slow, "old");
    api_request_free(slow);
    CHECK(!ask("GET", "/slow", NULL, "new"));
}

static affect_status ask_in_a_batch(api_db *db, void *unused, affect_error *err) {
    (void)db, (void)unused, (void)err;
    CHECK(!ask("GET", "/a", NULL, "under way") && !ask("GET", "/a", NULL, "still"));
    return AFFECT_STATUS_OK;
}

static void test_during_a_commit(void) {
    CHECK(!ask("GET", "/a", NULL, "before") && ask("GET", "/a", NULL, "before"));
    CHECK_OK(api_store_write(context.store, ask_in_a_batch, NULL, NULL, err));
    CHECK(!ask("GET", "/a", NULL, "after"));
}

/* More paths than slots, and a document that is too large. */
static void test_bounds(void) {
    char path[32], *large = calloc(1, 300001);
    for (int i = 0; i < 1000; i++) {
        snprintf(path, sizeof path, "/many/%d", i);
        CHECK(!ask("GET", path, NULL, "many") && ask("GET", path, NULL, "many"));
    }
    memset(large, 'x', 300000);
    api_request *request = make_request("GET", "/large");
    CHECK(!api_documents_answer(request));
    answer(request, large);
    api_request_free(request);
    request = make_request("GET", "/large");
    CHECK(!api_documents_answer(request));
    api_request_free(request);
    free(large);
}

int main(void) {
    char path[AFFECT_PATH_MAX];
    CHECK(mkdtemp(folder) != NULL);
    CHECK_OK(affect_path_join(path, err, folder, "test.sqlite"));
    CHECK_OK(api_store_open(&context.store, path, err));
    CHECK_OK(api_documents_create(&context.documents, err));
    TEST_RUN(test_until_the_next_commit);
    TEST_RUN(test_made_before_a_commit);
    TEST_RUN(test_during_a_commit);
    TEST_RUN(test_bounds);
    api_documents_free(context.documents);
    api_store_close(context.store);
    CHECK_OK(affect_directory_remove(folder, err));
    return TEST_END();
}
