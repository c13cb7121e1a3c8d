/* What a manifest tells of each utterance, by attribute: the input of splits and audits.
 *
 * An attribute is a member of the utterance's row in dataset.json ("speaker", "dialog", "session",
 * "scenario", "improvised", ...), a member of the row's "columns" where that is an object (other
 * columns of a corpus), or "label", the class. A corpus may lack any of them.
 *
 * A table belongs to one thread: groups are made on demand and kept. All that it points to is
 * borrowed from the manifest, which must outlive it. */
#ifndef AFFECT_DATASET_UTTERANCE_TABLE_H
#define AFFECT_DATASET_UTTERANCE_TABLE_H

#include "engine/core/json.h"
#include "engine/core/status.h"

#include <stddef.h>

#define AFFECT_ATTRIBUTE_SIZE     64 /* bytes of an attribute's name, with its NUL */
#define AFFECT_ATTRIBUTES_GROUPED 16 /* that one table can group by */

/* The utterances by the text of one attribute. */
typedef struct {
    char attribute[AFFECT_ATTRIBUTE_SIZE];
    size_t n;           /* groups */
    size_t n_without;   /* utterances that lack the attribute */
    const char **names; /* (n) in the order of their bytes */
    int *of;            /* (utterances) index of the group, -1 without */
} affect_utterance_groups;

typedef struct {
    size_t n, n_classes;
    const char **classes;     /* (n_classes) */
    int *labels;              /* (n) index into classes */
    const affect_json **rows; /* (n) in the manifest's order */
    affect_utterance_groups groups[AFFECT_ATTRIBUTES_GROUPED];
    size_t n_groups;
} affect_utterance_table;

/* Of the members "classes" and "utterances" of a manifest. MALFORMED when a label is no class. On
 * failure nothing is owned; else affect_utterance_table_free. */
affect_status affect_utterance_table_make(affect_utterance_table *table,
                                          const affect_json *manifest, affect_error *err);
void affect_utterance_table_free(affect_utterance_table *table);

/* The text of an attribute: a string that is not empty, or "true" and "false"; NULL without. */
const char *affect_utterance_table_text(const affect_utterance_table *table, size_t index,
                                        const char *attribute);
/* The number of an attribute, NAN without. "agreement" is the share of annotators who chose the
 * utterance's own label: of the row's "votes", those of evaluators ("E...") where there are some,
 * else of all; a vote for several labels counts for each. */
double affect_utterance_table_number(const affect_utterance_table *table, size_t index,
                                     const char *attribute);
/* The groups of an attribute; *groups is borrowed until the table is freed. */
affect_status affect_utterance_table_group(const affect_utterance_groups **groups,
                                           affect_utterance_table *table, const char *attribute,
                                           affect_error *err);

#endif
