/* What train, evaluate and import share: a specification made of a file and flags, events, an end.
 *
 * Each is a worker of the server (--spec FILE --events --supervised) and a command for people. */
#ifndef AFFECT_CLI_WORKER_H
#define AFFECT_CLI_WORKER_H

#include "engine/cli/flags.h"
#include "engine/train/job_event.h"

/* Values of the flags that every worker has; AFFECT_WORKER_FLAGS puts their rows into a table. */
typedef struct {
    const char *spec;
    bool events, supervised;
} affect_worker_flags;

#define AFFECT_WORKER_FLAGS(given)                                                                 \
    {"spec", 0, AFFECT_FLAG_STRING, &(given).spec, "FILE", "job specification, JSON"},             \
        {"events", 0, AFFECT_FLAG_BOOL, &(given).events, NULL, "print JSON lines to stdout"}, {    \
        "supervised", 0, AFFECT_FLAG_BOOL, &(given).supervised, NULL,                              \
            "stop when stdin ends (the server's workers)"                                          \
    }

typedef struct {
    bool reads_recordings; /* of a corpus, on the CPU; the others map its features */
    /* Lays what the flags say over the specification (an object). */
    affect_status (*fill)(affect_json *specification, const void *flags, affect_error *err);
    /* Does the job. *result is what the end event carries; owned by the caller. */
    affect_status (*run)(affect_json **result, const affect_json *specification,
                         affect_job_events *events, affect_error *err);
    /* Shows the result to people; may be NULL. */
    void (*show)(const affect_json *result);
} affect_worker;

/* Reads the specification, runs the job, ends with an event. Returns the exit code. */
int affect_worker_main(const affect_worker *worker, const affect_worker_flags *given,
                       const void *flags);

/* Sets specification[name] to what `text` means: the JSON of a file when it ends in .json, JSON
 * text when it begins with a brace, else the word itself. NULL text: nothing. */
affect_status affect_worker_set_json(affect_json *specification, const char *name, const char *text,
                                     affect_error *err);
/* The same for text and for integers; NULL and negative numbers: nothing. */
void affect_worker_set_string(affect_json *specification, const char *name, const char *text);
void affect_worker_set_integer(affect_json *specification, const char *name, int64_t number);
/* Prints JSON, indented, to stdout. */
void affect_worker_show(const affect_json *result);

#endif
