/* The log; see log.h. */
#include "api/log.h"

#include "engine/core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

static const char *const level_names[] = {"debug", "info", "warning", "error", NULL};
static api_log_level lowest = API_LOG_INFO;
static int log_fd = STDERR_FILENO; /* one number for ever: what it stands for is exchanged */

affect_status api_log_open(const char *path, affect_error *err) {
    if (!*path) return AFFECT_STATUS_OK;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
    if (fd < 0) return affect_error_errno(err, errno, "log_file %s", path);
    if (log_fd == STDERR_FILENO) {
        log_fd = fd;
        return AFFECT_STATUS_OK;
    }
    dup3(fd, log_fd, O_CLOEXEC);
    close(fd);
    return AFFECT_STATUS_OK;
}

bool api_log_set_level(const char *name) {
    for (int i = 0; level_names[i]; i++) {
        if (strcmp(level_names[i], name) != 0) continue;
        lowest = (api_log_level)i;
        return true;
    }
    return false;
}

bool api_log_has(api_log_level level) {
    return level >= lowest;
}

void api_log_fields(api_log_level level, const char *message, affect_json *fields) {
    if (!api_log_has(level)) {
        affect_json_free(fields);
        return;
    }
    char now[AFFECT_CLOCK_TEXT_SIZE];
    affect_clock_text(now, affect_clock_unix_ms());
    affect_buffer line = {0};
    affect_buffer_printf(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":", now,
                         level_names[level]);
    affect_json_print_string(&line, message);
    for (affect_json *f = affect_json_first(fields); f; f = affect_json_next(f)) {
        affect_buffer_append(&line, ",", 1);
        affect_json_print_string(&line, affect_json_name(f));
        affect_buffer_append(&line, ":", 1);
        affect_json_print(&line, f);
    }
    affect_buffer_append_string(&line, "}\n");
    if (!line.failed && write(log_fd, line.data, line.size) < 0) {
    } /* nowhere to say it */
    affect_buffer_free(&line);
    affect_json_free(fields);
}

void api_log(api_log_level level, const char *message, ...) {
    if (!api_log_has(level)) return;
    affect_json *fields = affect_json_new_object();
    va_list args;
    va_start(args, message);
    for (const char *name; (name = va_arg(args, const char *));) {
        const char *text = va_arg(args, const char *);
        if (text) affect_json_set_string(fields, name, text);
    }
    va_end(args);
    api_log_fields(level, message, fields);
}
