/* The log of epochs; see epoch_log.h.
 *
 * A line begins with its newline, so that half a line (of a kill) spoils no other. Nothing is
 * synced: the log is for killed processes; after a power failure the checkpoint may be ahead of it.
 */
#include "engine/train/epoch_log.h"

#include "engine/core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_BYTES (1 << 20) /* of a file before it becomes the old one */

static affect_status append(const char *path, const affect_buffer *line, affect_error *err) {
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) return affect_error_errno(err, errno, "%s", path);
    ssize_t n = write(fd, line->data, line->size);
    int e = n < 0 ? errno : (size_t)n < line->size ? ENOSPC : 0;
    close(fd);
    return e ? affect_error_errno(err, e, "%s", path) : AFFECT_STATUS_OK;
}

affect_status affect_epoch_log_append(const char *folder, const affect_json *report,
                                      affect_error *err) {
    char path[AFFECT_PATH_MAX], old[AFFECT_PATH_MAX];
    struct stat info;
    affect_buffer line = {0};
    AFFECT_TRY(affect_path_join(path, err, folder, AFFECT_EPOCH_LOG));
    AFFECT_TRY(affect_path_join(old, err, folder, AFFECT_EPOCH_LOG_OLD));
    if (stat(path, &info) == 0 && info.st_size > MAX_BYTES) rename(path, old);
    affect_buffer_append(&line, "\n", 1);
    affect_json_print(&line, report);
    affect_status status = line.failed ? affect_fail(err, NO_MEMORY, "no memory for an epoch")
                                       : append(path, &line, err);
    affect_buffer_free(&line);
    return status;
}

int64_t affect_epoch_log_replay(const char *folder, int64_t first, int64_t last,
                                void (*call)(void *context, const affect_json *report),
                                void *context) {
    static const char *const names[] = {AFFECT_EPOCH_LOG_OLD, AFFECT_EPOCH_LOG};
    int64_t next = first;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[AFFECT_PATH_MAX], *text = NULL;
        size_t size = 0;
        if (affect_path_join(path, NULL, folder, "%s", names[i]) != AFFECT_STATUS_OK ||
            affect_file_read(&text, &size, path, 4 * MAX_BYTES, NULL) != AFFECT_STATUS_OK)
            continue;
        for (char *line = text, *end; line && next <= last; line = end ? end + 1 : NULL) {
            affect_json *report = NULL;
            end = strchr(line, '\n');
            size_t n = end ? (size_t)(end - line) : strlen(line);
            if (!n || affect_json_parse(&report, line, n, NULL) != AFFECT_STATUS_OK) continue;
            if ((int64_t)affect_json_get_number(report, "epoch", 0) == next) {
                call(context, report);
                next++;
            }
            affect_json_free(report);
        }
        free(text);
    }
    return next - first;
}
