/* Documents; see documents.h.
 *
 * A table of slots, a path's slot given by its hash: the newer document of two takes the slot. One
 * lock, held for a comparison and a copy of at most MAX_BYTES. */
#include "api/documents.h"

#include "api/request.h"
#include "api/store/store.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define N_SLOTS   64u
#define MAX_BYTES (256u << 10) /* of a document; a larger one is made anew each time */

typedef struct {
    char *path; /* owned; NULL: empty */
    char etag[64];
    char *text; /* owned */
    size_t size;
    uint64_t version; /* of the store before the text was made */
} document;

struct api_documents {
    pthread_mutex_t lock;
    document slots[N_SLOTS];
};

affect_status api_documents_create(api_documents **documents, affect_error *err) {
    api_documents *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "no memory for documents");
    pthread_mutex_init(&made->lock, NULL);
    *documents = made;
    return AFFECT_STATUS_OK;
}

static void clear(document *slot) {
    free(slot->path);
    free(slot->text);
    *slot = (document){0};
}

void api_documents_free(api_documents *documents) {
    if (!documents) return;
    for (size_t i = 0; i < N_SLOTS; i++) clear(&documents->slots[i]);
    pthread_mutex_destroy(&documents->lock);
    free(documents);
}

static document *slot_of(api_documents *documents, const char *path) {
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (const char *c = path; *c; c++) hash = (hash ^ (unsigned char)*c) * 16777619u;
    return &documents->slots[hash % N_SLOTS];
}

static bool is_plain_read(const api_request *request) {
    bool reads = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
    return reads && request->queries.n == 0 && !api_header(request, "If-None-Match") &&
           !api_header(request, "If-Match");
}

bool api_documents_answer(api_request *request) {
    api_documents *documents = request->context->documents;
    if (!is_plain_read(request)) return false;
    uint64_t version = request->store_version = api_store_version(request->context->store);
    affect_buffer text = {0};
    char etag[sizeof documents->slots[0].etag] = "";
    pthread_mutex_lock(&documents->lock);
    const document *slot = slot_of(documents, request->path);
    if (slot->path && slot->version == version && strcmp(slot->path, request->path) == 0) {
        affect_buffer_append(&text, slot->text, slot->size);
        memcpy(etag, slot->etag, sizeof etag);
    }
    pthread_mutex_unlock(&documents->lock);
    if (!text.size || text.failed) {
        affect_buffer_free(&text);
        return false;
    }
    if (*etag) api_set_header(request, "ETag", "%s", etag);
    api_answer_buffer(request, 200, "application/json", &text);
    return true;
}

/* Keeps a copy of what is about to be sent. An uneven version means that a commit was under way. */
static void keep(const api_request *request, const affect_buffer *text) {
    api_documents *documents = request->context->documents;
    const char *etag = api_pairs_find(&request->answer.headers, "ETag", true);
    if (request->store_version % 2 || text->size > MAX_BYTES || !is_plain_read(request)) return;
    document made = {.path = strdup(request->path),
                     .text = malloc(text->size),
                     .size = text->size,
                     .version = request->store_version};
    if (!made.path || !made.text || (etag && strlen(etag) >= sizeof made.etag)) {
        clear(&made);
        return;
    }
    memcpy(made.text, text->data, text->size);
    if (etag) strcpy(made.etag, etag);
    pthread_mutex_lock(&documents->lock);
    document *slot = slot_of(documents, request->path), old = *slot;
    *slot = made;
    pthread_mutex_unlock(&documents->lock);
    clear(&old);
}

void api_answer_document(api_request *request, affect_status status, affect_json *json,
                         const affect_error *error) {
    if (status != AFFECT_STATUS_OK) {
        affect_json_free(json);
        api_answer_error(request, error);
        return;
    }
    affect_buffer text;
    if (!api_print_answer(&text, request, json)) return;
    keep(request, &text);
    api_answer_buffer(request, 200, "application/json", &text);
}
