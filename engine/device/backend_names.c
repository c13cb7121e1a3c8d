/* Names of backend.h; apart because the CUDA plug-in has them too. */
#include "engine/device/backend.h"

const char *const affect_precision_names[] = {"fp32", "tf32", "bf16", "auto", NULL};

#define OPERATION(type, name, parameters) #name,
const char *const affect_operation_names[] = {AFFECT_OPERATIONS(OPERATION) NULL};
