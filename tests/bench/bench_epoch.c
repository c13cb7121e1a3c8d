/* Times epochs of a real training (affect_train) on made-up features of IEMOCAP's size and lengths.
 *
 *   cmake --build build --target bench_epoch
 *   build/bench/bench_epoch FOLDER [CLIPS] [JSON]
 *
 * FOLDER: gets a dataset of CLIPS (default 5521: 4416 train, 1105 validate) of 501 frames of 128
 * bands with motion, made once and used again, and the training's files. Lengths are log-normal:
 * median 3.58 s, sigma 0.69, 0.585 to 16 s. JSON: members of the job's specification that replace
 * those below, as {"device": "cuda", "precision": "bf16"}; "trials": 8 trains as many seeds side by
 * side (engine/train/trials.h). Prints one JSON object: seconds of each epoch as the training
 * reports them and its losses (of trials: those of all, one after another), and the seconds of all.
 */
#include "engine/core/clock.h"
#include "engine/core/file.h"
#include "engine/core/random.h"
#include "engine/dataset/shard.h"
#include "engine/train/trials.h"
#include "tests/sizes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FRAMES = 501, MELS = 128, PARTS = 200, COLUMNS = 189, SHARD = 100, CLASSES = 4 };

static const network_sizes store_sizes = {FRAMES, MELS, PARTS, COLUMNS, 0};
static const char *const classes[CLASSES] = {"angry", "happy", "neutral", "sad"};
static affect_error error;

static void stop(const char *what) {
    fprintf(stderr, "bench_epoch: %s\n", what);
    exit(1);
}
static void check(affect_status status) {
    if (status != AFFECT_STATUS_OK) stop(error.message);
}
static void *memory(size_t n, size_t size) {
    void *block = calloc(n, size);
    if (!block) stop("no memory");
    return block;
}

/* Frames of clip i: one each 512 samples at 16 kHz, and one more. */
static size_t length_of(size_t i) {
    double seconds = 3.58 * exp(0.69 * affect_random_normal((affect_random_key){1, 1}, i));
    seconds = fmin(fmax(seconds, 0.585), 16);
    return 1 + (size_t)(seconds * 16000 / 512);
}

/* Shards are named by 64 hexadecimal digits; these count. */
static void name_shard(char name[65], size_t shard) {
    snprintf(name, 65, "%064zx", shard);
}

/* Numbers that differ from clip to clip; their mean depends on the class, but for what a clip has
 * of its own, so that classes overlap and a training has something to do. */
static void fill(float *numbers, size_t n, size_t clip) {
    float own = (float)affect_random_normal((affect_random_key){1, 2}, clip);
    float mean = 0.1f * (float)(clip % CLASSES) + 0.08f * own;
    for (size_t i = 0; i < n; i++)
        numbers[i] = (float)((i * 2654435761u + clip * 40503u) % 1009) / 1009 + mean;
}

static void write_shard(const char *folder, size_t shard, size_t n) {
    affect_json *none = affect_json_new_array(), *ids = affect_json_new_array();
    affect_json *quality = affect_json_new_array(), *features = affect_json_new_object();
    int64_t *offsets = memory(n + 1, sizeof *offsets);
    float *pad = memory(n, sizeof *pad), *motion = memory(n * PARTS * COLUMNS, sizeof *motion);
    uint8_t *missing = memory(n * PARTS * COLUMNS, 1);
    char name[65], path[AFFECT_PATH_MAX];
    for (size_t i = 0; i < n; i++)
        offsets[i + 1] = offsets[i] + (int64_t)length_of(shard * SHARD + i);
    float *mel = memory((size_t)offsets[n] * MELS, sizeof *mel);
    for (size_t i = 0; i < n; i++) {
        size_t clip = shard * SHARD + i;
        snprintf(name, sizeof name, "c%06zu", clip);
        affect_json_append(ids, affect_json_new_string(name));
        affect_json_append(quality, affect_json_new_object());
        fill(mel + offsets[i] * MELS, (size_t)(offsets[i + 1] - offsets[i]) * MELS, clip);
        fill(motion + i * PARTS * COLUMNS, PARTS * COLUMNS, clip);
    }
    name_shard(name, shard);
    check(affect_path_join(path, &error, folder, "store/%s.safetensors", name));
    const affect_sizes sizes = sizes_of(store_sizes);
    const affect_shard_content content = {
        .n_utterances = n,
        .sizes = &sizes,
        .values = {{.offsets = offsets, .values = mel, .pad_value = pad},
                   {.values = motion, .missing = missing}},
        .features = features,
        .utterances = ids,
        .quality = quality,
        .rejected = none};
    check(affect_shard_write(path, &content, &error));
    affect_json *trees[] = {none, ids, quality, features};
    void *blocks[] = {offsets, pad, motion, missing, mel};
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) affect_json_free(trees[i]);
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
}

static void add_utterance(affect_json *utterances, size_t clip) {
    static const char *const same[][2] = {{"raw_label", "exc"},  {"dialog", "a"},
                                          {"session", "Ses01"},  {"scenario", "impro01"},
                                          {"speaker", "Ses01F"}, {"wearer", "Ses01M"}};
    affect_json *row = affect_json_append(utterances, affect_json_new_object());
    char id[32];
    snprintf(id, sizeof id, "c%06zu", clip);
    affect_json_set_string(row, "id", id);
    affect_json_set_string(row, "label", classes[clip % CLASSES]);
    affect_json_set_number(row, "shard", (double)(clip / SHARD));
    affect_json_set_number(row, "index", (double)(clip % SHARD));
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        affect_json_set_string(row, same[i][0], same[i][1]);
    affect_json_set_bool(row, "own_motion", true);
    affect_json_set_bool(row, "improvised", true);
    affect_json_set_number(row, "start", 0);
    affect_json_set_number(row, "end", 1);
    affect_json_set_array(row, "votes");
    affect_json *streams = affect_json_set_array(row, "streams");
    affect_json_append(streams, affect_json_new_string("audio"));
    affect_json_append(streams, affect_json_new_string("face"));
}

static void write_manifest(const char *path, size_t n_clips, size_t n_shards) {
    affect_json *json = affect_json_new_object(), *labels, *list;
    affect_buffer text = {0};
    char name[65];
    affect_json_set_string(json, "format", "affect-dataset");
    affect_json_set_number(json, "version", 1);
    affect_json_set_string(json, "name", "bench");
    affect_json_set_string(json, "digest", "bench");
    affect_json_set_object(affect_json_set_object(json, "features"), "mel");
    labels = affect_json_set_object(json, "labels");
    list = affect_json_set_array(json, "classes");
    for (int i = 0; i < CLASSES; i++) {
        affect_json_append(affect_json_set_array(labels, classes[i]),
                           affect_json_new_string(classes[i]));
        affect_json_append(list, affect_json_new_string(classes[i]));
    }
    affect_json *shape = affect_json_set_object(json, "sizes");
    affect_json_set_number(shape, "frames", FRAMES);
    affect_json_set_number(shape, "mels", MELS);
    affect_json_set_number(shape, "parts", PARTS);
    affect_json_set_number(shape, "columns", COLUMNS);
    affect_json_set_string(json, "store", "store");
    affect_json_set_number(affect_json_set_object(json, "report"), "utterances", (double)n_clips);
    list = affect_json_set_array(json, "shards");
    for (size_t i = 0; i < n_shards; i++) {
        name_shard(name, i);
        affect_json_append(list, affect_json_new_string(name));
    }
    list = affect_json_set_array(json, "utterances");
    for (size_t i = 0; i < n_clips; i++) add_utterance(list, i);
    affect_json_print(&text, json);
    check(affect_file_write(path, text.data, text.size, &error));
    affect_buffer_free(&text);
    affect_json_free(json);
}

/* FOLDER/dataset-CLIPS with its store, unless it is there. */
static void make_dataset(char dataset[AFFECT_PATH_MAX], const char *folder, size_t n_clips) {
    char path[AFFECT_PATH_MAX];
    size_t n_shards = (n_clips + SHARD - 1) / SHARD;
    check(affect_path_join(dataset, &error, folder, "dataset-%zu", n_clips));
    check(affect_path_join(path, &error, dataset, "dataset.json"));
    if (affect_file_exists(path)) return;
    check(affect_directory_make(dataset, &error));
    char store[AFFECT_PATH_MAX];
    check(affect_path_join(store, &error, dataset, "store"));
    check(affect_directory_make(store, &error));
    for (size_t i = 0; i < n_shards; i++)
        write_shard(dataset, i, i + 1 < n_shards ? SHARD : n_clips - i * SHARD);
    write_manifest(path, n_clips, n_shards);
}

/* One trial and what it says. */
typedef struct {
    affect_train_spec spec;
    affect_train_callbacks callbacks;
    affect_json *json, *epochs;
} trial;

static bool on_epoch(void *context, const affect_json *report, bool best) {
    trial *t = context;
    affect_json *epoch = affect_json_append(t->epochs, affect_json_new_object());
    (void)best;
    static const char *const kept[] = {"seconds", "loss", "val_loss", "val_accuracy"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        affect_json_set_number(epoch, kept[i],
                               affect_json_get_number(report, kept[i], (double)NAN));
    return true;
}

static void on_message(void *context, const char *level, const char *message) {
    (void)context;
    fprintf(stderr, "%s: %s\n", level, message);
}

static void make_trial(trial *t, const char *folder, const char *dataset,
                       const affect_json *members, size_t index) {
    char output[AFFECT_PATH_MAX];
    static const char base[] =
        "{\"type\": \"train\", \"architecture\": \"paper-optimized\","
        "\"split\": {\"kind\": \"random\", \"validation\": 0.2, \"seed\": 1},"
        "\"training\": {\"epochs\": 3, \"batch_size\": 48}}";
    check(affect_path_join(output, &error, folder, "output-%zu", index));
    check(affect_directory_make(output, &error));
    check(affect_json_parse(&t->json, base, sizeof base - 1, &error));
    affect_json_set_string(t->json, "dataset", dataset);
    affect_json_set_string(t->json, "output", output);
    for (const affect_json *e = affect_json_first(members); e; e = affect_json_next(e)) {
        if (strcmp(affect_json_name(e), "trials") == 0) continue;
        affect_json_free(affect_json_detach(t->json, affect_json_name(e)));
        affect_json_set(t->json, affect_json_name(e), affect_json_copy(e));
    }
    affect_json *training = affect_json_get(t->json, "training"); /* trials differ by their seeds */
    double seed = affect_json_get_number(training, "seed", 1);
    affect_json_set_number(training, "seed", seed + (double)index);
    check(affect_train_spec_parse(&t->spec, t->json, &error));
    t->epochs = affect_json_new_array();
    t->callbacks =
        (affect_train_callbacks){.context = t, .on_epoch = on_epoch, .on_message = on_message};
}

/* Moves the trial's epochs to the end of `all`. */
static void end_trial(trial *t, affect_trial *run, affect_json *all) {
    if (run->status != AFFECT_STATUS_OK) stop(run->error.message);
    for (const affect_json *e = affect_json_first(t->epochs); e; e = affect_json_next(e))
        affect_json_append(all, affect_json_copy(e));
    affect_json_free(t->epochs);
    affect_json_free(run->result.summary);
    affect_train_spec_free(&t->spec);
    affect_json_free(t->json);
}

static void run_training(const char *folder, const char *dataset, const char *text) {
    static trial trials[AFFECT_MAX_TRIALS_AT_ONCE];
    static affect_trial runs[AFFECT_MAX_TRIALS_AT_ONCE];
    affect_json *members = NULL, *answer = affect_json_new_object();
    check(affect_json_parse(&members, text, strlen(text), &error));
    size_t n = (size_t)affect_json_get_number(members, "trials", 1);
    if (n < 1 || n > AFFECT_MAX_TRIALS_AT_ONCE) stop("trials: 1 to 64");
    for (size_t i = 0; i < n; i++) {
        make_trial(&trials[i], folder, dataset, members, i);
        runs[i] = (affect_trial){.spec = &trials[i].spec, .callbacks = &trials[i].callbacks};
    }
    double started = affect_clock_seconds();
    check(affect_trials_run(runs, n, n, &error));
    affect_json_set_number(answer, "seconds", affect_clock_seconds() - started);
    affect_json *epochs = affect_json_set_array(answer, "epochs");
    for (size_t i = 0; i < n; i++) end_trial(&trials[i], &runs[i], epochs);
    affect_buffer out = {0};
    affect_json_print(&out, answer);
    printf("%.*s\n", (int)out.size, (const char *)out.data);
    affect_buffer_free(&out);
    affect_json_free(answer);
    affect_json_free(members);
}

int main(int argc, char **argv) {
    char dataset[AFFECT_PATH_MAX];
    size_t n_clips = argc > 2 ? strtoul(argv[2], NULL, 10) : 5521;
    if (argc < 2 || n_clips < 10) stop("FOLDER [CLIPS] [JSON]; at least 10 clips");
    check(affect_directory_make(argv[1], &error));
    make_dataset(dataset, argv[1], n_clips);
    run_training(argv[1], dataset, argc > 3 ? argv[3] : "{}");
    return 0;
}
