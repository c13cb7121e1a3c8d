/* /v1/jobs/{job}/events: a page, lines, or a stream for browsers, by the Accept header. */
#include "api/context.h"
#include "api/handlers/handlers.h"
#include "api/jobs/feed.h"
#include "api/jobs/job_rows.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *job_id;
    int64_t after, limit, last_seq;
    bool ended;
    affect_buffer text; /* of a page */
} events_question;

static affect_status read_head(api_db *db, void *context, affect_error *err) {
    events_question *q = context;
    api_job_row row = {0};
    AFFECT_TRY(api_job_row_load(&row, db, q->job_id, err));
    q->last_seq = row.last_seq;
    q->ended = api_job_state_terminal(row.state);
    api_job_row_free(&row);
    return AFFECT_STATUS_OK;
}

typedef struct {
    affect_buffer *text;
    int64_t n, next;
} page;

static bool print_event(void *context, int64_t seq, const char *kind, const char *data) {
    page *p = context;
    if (p->n++) affect_buffer_append(p->text, ",", 1);
    p->next = seq;
    api_feed_print(p->text, API_FEED_LINES, seq, kind, data);
    return true;
}

static affect_status read_page(api_db *db, void *context, affect_error *err) {
    events_question *q = context;
    page p = {.text = &q->text, .next = q->after};
    AFFECT_TRY(read_head(db, q, err));
    affect_buffer_append_string(&q->text, "{\"data\":[");
    AFFECT_TRY(api_store_events_read(db, q->job_id, q->after, q->limit, print_event, &p, err));
    affect_buffer_printf(&q->text, "],\"more\":%s,\"next\":%lld,\"terminal\":%s}\n",
                         p.next < q->last_seq ? "true" : "false", (long long)p.next,
                         q->ended ? "true" : "false");
    return AFFECT_STATUS_OK;
}
/* The cursor: ?after, or what a browser sends when it comes back. False: already answered. */
static bool read_cursor(api_request *request, int64_t *after) {
    const char *last = api_header(request, "Last-Event-ID");
    char *end = NULL;
    *after = api_query_integer(request, "after");
    if (!last) return true;
    errno = 0;
    long long number = strtoll(last, &end, 10);
    if (!isdigit((unsigned char)*last) || *end || errno) {
        api_answer_problem(request, "invalid", "Last-Event-ID: need the number of an event");
        return false;
    }
    if (!api_query(request, "after")) *after = number;
    return true;
}

/* A cursor ahead of the newest event was not given by this job: to wait for it would be silence. */
static void refuse_ahead(api_request *request, const events_question *q) {
    if (api_query(request, "after"))
        api_answer_problem(request, "invalid",
                           "query after: %lld is ahead of the job's newest event, %lld",
                           (long long)q->after, (long long)q->last_seq);
    else
        api_answer_problem(request, "malformed",
                           "Last-Event-ID: %lld is ahead of the job's newest event, %lld",
                           (long long)q->after, (long long)q->last_seq);
}

void api_handle_job_events(api_request *request) {
    const api_context *context = api_context_of(request);
    events_question q = {.job_id = api_path_value(request, "job")};
    if (!read_cursor(request, &q.after)) return;
    q.limit = api_query_integer(request, "limit");
    bool sse = api_accepts(request, "text/event-stream");
    bool lines = !sse && api_accepts(request, "application/x-ndjson");
    affect_error error = {0};
    affect_status status =
        api_store_read(context->store, sse || lines ? read_head : read_page, &q, &error);
    if (status != AFFECT_STATUS_OK) {
        api_answer_error(request, &error);
    } else if (sse && q.ended && q.after >= q.last_seq) {
        api_answer_empty(request, 204); /* tells a browser to stay away */
    } else if (!q.ended && q.after > q.last_seq) {
        refuse_ahead(request, &q);
    } else if (sse || lines) {
        api_feed_answer(context->feed, request, q.job_id, q.after,
                        sse ? API_FEED_SSE : API_FEED_LINES);
    } else {
        api_set_header(request, "Cache-Control", "no-store");
        api_answer_buffer(request, 200, "application/json", &q.text);
    }
    affect_buffer_free(&q.text); /* empty where it was answered */
}
