/* Opening a device by name; see backend.h. */
#include "engine/core/backend.h"

#include <string.h>

affect_status affect_backend_open(affect_backend **backend, affect_backend_options options,
                                  affect_error *err) {
    const char *device = options.device;
    if (strcmp(device, "cpu") == 0 || strcmp(device, "auto") == 0) {
        if (options.precision != AFFECT_PRECISION_FP32)
            return affect_fail(err, UNSUPPORTED, "precision \"%s\": a CPU computes in fp32",
                               affect_precision_names[options.precision]);
        return affect_cpu_backend_open(backend, options.n_threads, err);
    }
    if (strncmp(device, "cuda", 4) == 0)
        return affect_fail(err, DEVICE_UNAVAILABLE,
                           "device \"%s\": this build has no CUDA engine (use cpu or auto)",
                           device);
    return affect_fail(err, INVALID, "device \"%s\": unknown (known: cpu, cuda, cuda:N, auto)",
                       device);
}

void affect_backend_free(affect_backend *backend) {
    if (backend) backend->ops->free(backend);
}
