/* Shards that no dataset names any more: they hold people's speech, and leave with the last
 * dataset. */
#ifndef AFFECT_STORE_SHARD_COLLECTION_H
#define AFFECT_STORE_SHARD_COLLECTION_H

#include "api/store/store.h"

/* Removes every file of DATA/features that no manifest below DATA/datasets names. While an import
 * has not ended, which may be about to name one, nothing is removed, nor where a manifest cannot be
 * read, which is logged: the next call does it. Calls are made after each deletion, at the end of
 * each import and at the start. */
void api_shards_collect(api_store *store, const char *data_dir);

#endif
