/* Sound: from memory and as a file the same samples, all finite, no more than the limit. */
#include "engine/modality/sound_file.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <string.h>

/* libsndfile 1.2's reader of Ogg forgets these when a stream is damaged. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:vorbis_info_init\nleak:ogg_";
}

#define LIMIT_SECONDS 2.0

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static affect_sound from_memory, from_file;
    char path[64];
    affect_time_window window = {0};
    affect_error err = {0};
    if (size && data[size - 1] & 1) window = (affect_time_window){true, 0.1, 0.4};
    affect_status status = affect_sound_read(
        &from_memory, (affect_source){.data = data, .size = size}, window, LIMIT_SECONDS, &err);
    FUZZ_CHECK(status == AFFECT_STATUS_OK || (err.message[0] && from_memory.n_samples == 0));
    for (size_t i = 0; i < from_memory.n_samples; i++)
        FUZZ_CHECK(fabsf(from_memory.samples[i]) <= AFFECT_SOUND_MAX_AMPLITUDE);
    FUZZ_CHECK((double)from_memory.n_samples <= LIMIT_SECONDS * AFFECT_SOUND_MAX_RATE_HZ);
    int fd = fuzz_file(path, data, size);
    affect_status other =
        affect_sound_read(&from_file, (affect_source){.path = path}, window, LIMIT_SECONDS, NULL);
    close(fd);
    FUZZ_CHECK(status == other && from_memory.n_samples == from_file.n_samples);
    if (from_file.n_samples)
        FUZZ_CHECK(memcmp(from_memory.samples, from_file.samples,
                          from_file.n_samples * sizeof *from_file.samples) == 0);
    return 0;
}
