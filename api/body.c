/* Bodies while they arrive; see body.h. */
#include "api/body.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SPACE_CHECK_BYTES (8u << 20) /* between looks at the disk's free space */

void api_body_begin(api_body *body, api_request *request, uint64_t limit) {
    *body = (api_body){.request = request, .limit = limit, .current = -1};
}

static bool failed(const api_body *body) {
    return body->error.status != AFFECT_STATUS_OK;
}

affect_status api_body_check_space(const api_request *request, uint64_t n_bytes,
                                   affect_error *err) {
    const api_settings *settings = request->context->settings;
    struct statvfs disk;
    if (n_bytes <= (uint64_t)settings->spool_bytes) return AFFECT_STATUS_OK; /* stays in memory */
    if (statvfs(settings->data, &disk) != 0) return AFFECT_STATUS_OK;        /* a write will fail */
    uint64_t room = (uint64_t)disk.f_bavail * disk.f_frsize;
    uint64_t reserve = (uint64_t)settings->disk_reserve_bytes;
    if (room >= reserve && n_bytes <= room - reserve) return AFFECT_STATUS_OK;
    return affect_fail(err, NO_SPACE, "a body of %llu bytes: the disk has %llu, %llu are kept free",
                       (unsigned long long)n_bytes, (unsigned long long)room,
                       (unsigned long long)reserve);
}

/* A body that cannot be stored gives its space back at once, whatever the client still sends. */
static void drop_spooled(api_body *body) {
    for (size_t i = 0; i < body->request->n_parts; i++) {
        api_part_state *part = &body->request->parts[i];
        if (part->fd >= 0) close(part->fd);
        part->fd = -1;
        if (part->path) unlink(part->path);
    }
}

void api_body_count(api_body *body, size_t n_bytes) {
    body->received += n_bytes;
    if (!failed(body) && body->received > body->limit)
        affect_fail(&body->error, TOO_LARGE, "the body has more than %llu bytes",
                    (unsigned long long)body->limit);
}

void api_body_part(api_body *body, const char *name, const char *file_name,
                   const char *content_type) {
    api_request *request = body->request;
    if (failed(body)) return;
    if ((int64_t)request->n_parts >= request->context->settings->max_parts) {
        affect_fail(&body->error, INVALID, "more than %lld parts",
                    (long long)request->context->settings->max_parts);
        return;
    }
    for (size_t i = 0; i < request->n_parts; i++) {
        if (strcmp(request->parts[i].name, name) != 0) continue;
        affect_field_fail(&body->error, "", name, "is given twice");
        return;
    }
    api_part_state *parts = realloc(request->parts, (request->n_parts + 1) * sizeof *parts);
    if (!parts) {
        affect_fail(&body->error, NO_MEMORY, "no memory for a part");
        return;
    }
    request->parts = parts;
    body->current = (int)request->n_parts;
    parts[request->n_parts++] = (api_part_state){
        .fd = -1,
        .name = strdup(name),
        .file_name = file_name ? strdup(file_name) : NULL,
        .content_type = content_type ? strdup(content_type) : NULL,
    };
    if (!parts[body->current].name) affect_fail(&body->error, NO_MEMORY, "no memory for a part");
}

static void write_all(api_body *body, int fd, const char *data, size_t size) {
    while (size && !failed(body)) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            affect_error_errno(&body->error, errno, "storing the body");
            drop_spooled(body);
            return;
        }
        data += n;
        size -= (size_t)n;
    }
}

/* Moves what is in memory to a file of ours. */
static void begin_spool(api_body *body, api_part_state *part) {
    char path[1200], id[AFFECT_ULID_SIZE];
    affect_ulid_make(id);
    snprintf(path, sizeof path, "%s/spool/%s", body->request->context->settings->data, id);
    part->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (part->fd < 0) {
        affect_error_errno(&body->error, errno, "storing the body");
        return;
    }
    part->path = strdup(path);
    if (!part->path) affect_fail(&body->error, NO_MEMORY, "no memory for a part");
    write_all(body, part->fd, part->memory.data, part->memory.size);
    affect_buffer_free(&part->memory);
}

void api_body_append(api_body *body, const void *data, size_t size) {
    if (failed(body) || body->current < 0) return;
    api_part_state *part = &body->request->parts[body->current];
    uint64_t in_memory = (uint64_t)body->request->context->settings->spool_bytes;
    bool json = body->request->body_kind == API_BODY_JSON; /* limited by itself: stays in memory */
    part->size += size;
    if (part->fd < 0 && part->size > in_memory && !json) begin_spool(body, part);
    if (failed(body)) return;
    if (part->fd >= 0) {
        body->unchecked += size;
        if (body->unchecked >= SPACE_CHECK_BYTES) {
            body->unchecked = 0;
            if (api_body_check_space(body->request, in_memory + 1, &body->error) !=
                AFFECT_STATUS_OK) {
                drop_spooled(body);
                return;
            }
        }
        write_all(body, part->fd, data, size);
        return;
    }
    affect_buffer_append(&part->memory, data, size);
    if (part->memory.failed) affect_fail(&body->error, NO_MEMORY, "no memory for the body");
}

bool api_body_end(api_body *body) {
    for (size_t i = 0; i < body->request->n_parts && !failed(body); i++) {
        api_part_state *part = &body->request->parts[i];
        if (part->fd >= 0 && close(part->fd) != 0)
            affect_error_errno(&body->error, errno, "storing the body");
        part->fd = -1;
        part->part = (api_part){.name = part->name,
                                .file_name = part->file_name,
                                .content_type = part->content_type,
                                .data = part->path ? NULL : affect_buffer_string(&part->memory),
                                .size = part->size,
                                .path = part->path};
    }
    return !failed(body);
}
