/* Variables of an architecture: "$name" in its JSON. */
#ifndef AFFECT_MODEL_VARIABLES_H
#define AFFECT_MODEL_VARIABLES_H

#include "engine/model/architecture.h"

/* `document` gets its variables' values from `overrides` (an object or NULL; names it lacks are
 * INVALID, and so is one that a size has). Values are numbers, booleans or strings without "$". */
affect_status affect_variables_override(affect_json *document, const affect_json *overrides,
                                        const affect_sizes *sizes, affect_error *err);
/* A copy of `document` without "variables" and with every "$name" replaced; *resolved owned. An
 * unknown name is INVALID with its pointer. */
affect_status affect_variables_resolve(affect_json **resolved, const affect_json *document,
                                       const affect_sizes *sizes, affect_error *err);

#endif
