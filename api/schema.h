/* What handlers say of their bodies in the contract: helpers of the api_describe_* functions.
 *
 * A field table becomes a closed object (engine/core/fields.h); tables that stand in other tables
 * and are worth a name of their own are listed in schema.c. */
#ifndef AFFECT_API_SCHEMA_H
#define AFFECT_API_SCHEMA_H

#include "engine/core/fields.h"

/* Media types of archives, ended by NULL. */
extern const char *const api_archive_types[];

/* The table's schema with a title, under which the contract names it. Owned. */
affect_json *api_schema_of(const affect_field *table, const char *title);
/* The name of a table that stands in components/schemas, or NULL. */
const char *api_schema_name(const affect_field *table);
/* Row i of the named tables; NULL beyond the last. */
const affect_field *api_schema_table(size_t i);
/* A member of a form that is a file, or a body that is one. */
void api_schema_add_file(affect_json *object, const char *name, const char *help);

#endif
