/* SHA-256 (FIPS 180-4): addresses of features, datasets and models. */
#ifndef AFFECT_CORE_DIGEST_H
#define AFFECT_CORE_DIGEST_H

#include "engine/core/json.h"
#include "engine/core/status.h"

#include <stdint.h>

typedef struct {
    uint32_t state[8];
    uint64_t n_bytes;
    unsigned char block[64];
} affect_digest;

#define AFFECT_DIGEST_TEXT_SIZE 65

void affect_digest_begin(affect_digest *digest);
void affect_digest_update(affect_digest *digest, const void *data, size_t size);
/* Lower-case hexadecimal; the digest must be begun anew afterwards. */
void affect_digest_end(affect_digest *digest, char text[AFFECT_DIGEST_TEXT_SIZE]);
/* Of a document in its canonical form (affect_json_canonical_text). */
affect_status affect_digest_json(char text[AFFECT_DIGEST_TEXT_SIZE], const affect_json *json,
                                 affect_error *err);
/* Of a whole file, read in blocks. */
affect_status affect_digest_file(char text[AFFECT_DIGEST_TEXT_SIZE], const char *path,
                                 affect_error *err);

#endif
