/* Texts of older schemas as this one has them: what upgrade_N.sql cannot say. */
#ifndef AFFECT_STORE_UPGRADE_H
#define AFFECT_STORE_UPGRADE_H

#include "engine/core/status.h"

/* From schema 1 to 2: a job's specification with paths relative to the data folder in place of
 * absolute ones; *text owned. One without such paths stays as it is. */
affect_status api_upgrade_spec(char **text, const char *spec_text, const char *id,
                               const char *dataset_id, affect_error *err);

#endif
