/* Child processes: the `affect` program started with exactly the descriptors it is given. */
#ifndef AFFECT_JOBS_CHILD_H
#define AFFECT_JOBS_CHILD_H

#include "engine/core/file.h"
#include "engine/core/status.h"

#include <stddef.h>
#include <sys/types.h>

/* The `affect` that lies beside this very program. */
affect_status api_child_binary(char path[AFFECT_PATH_MAX], affect_error *err);

/* Starts `binary` with argv (ended by NULL) in a process group of its own; fds[i], each at least 3,
 * becomes descriptor i, everything else of ours is close-on-exec. Signals are at their defaults.
 * Of our environment only what child.c lists is passed: paths, language, and variables that the
 * engine, the CUDA driver and sanitizers read. The program confines itself (core/confine.h). */
affect_status api_child_spawn(pid_t *pid, const char *binary, const char *const *argv,
                              const int *fds, size_t n_fds, affect_error *err);

/* Both ends close-on-exec; ends[0] is read from. */
affect_status api_child_pipe(int ends[2], affect_error *err);
void api_child_close(int *fd); /* closes when >= 0 and sets -1 */

#endif
