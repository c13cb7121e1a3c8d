/* A training that is stopped or killed at any of its moments goes on to the same bits; a batch in
 * pieces gives what the whole batch gives. */
#include "tests/engine/train/lives.h"

#include <sys/resource.h>

static void test_any_moment(void) {
    check_any_moment(1);
}

static void test_another_training_is_refused(void) {
    char folder[AFFECT_PATH_MAX];
    snprintf(folder, sizeof folder, "%s", scratch_path("whole"));
    forget();
    CHECK(live(folder, ARCHITECTURE(NORM), ",\"training\":{\"epochs\":3,\"seed\":5}", GO_ON, 0));
    CHECK(shared->status == AFFECT_STATUS_CONFLICT);
    CHECK(strstr(shared->error, "training differs") != NULL);
    forget();
    CHECK(live(folder, ARCHITECTURE(""), TRAINING, GO_ON, 0));
    CHECK(shared->status == AFFECT_STATUS_CONFLICT);
    CHECK(strstr(shared->error, "architecture differs") != NULL);
}

#define ONE_EPOCH(seed)                                                                            \
    ",\"threads\":2,\"training\":{\"epochs\":1,\"batch_size\":1,\"seed\":" seed "}"

/* The folder may hold the best epoch of a training before: its number alone does not tell whose. */
static void test_best_of_another_training(void) {
    char whole[AFFECT_PATH_MAX], other[AFFECT_PATH_MAX], last[AFFECT_PATH_MAX];
    snprintf(whole, sizeof whole, "%s", scratch_path("one_epoch"));
    snprintf(other, sizeof other, "%s", scratch_path("another_before"));
    CHECK_OK(affect_path_join(last, err, other, "%s", AFFECT_LAST_FILE));
    forget();
    CHECK(live(whole, ARCHITECTURE(NORM), ONE_EPOCH("4"), GO_ON, 0));
    int n_moments = shared->moment;
    for (int moment = 1; moment <= n_moments; moment++) {
        CHECK_OK(affect_directory_remove(other, err));
        forget();
        CHECK(live(other, ARCHITECTURE(NORM), ONE_EPOCH("5"), GO_ON, 0));
        CHECK(remove(last) == 0);
        forget();
        CHECK(!live(other, ARCHITECTURE(NORM), ONE_EPOCH("4"), KILL, moment));
        CHECK(live(other, ARCHITECTURE(NORM), ONE_EPOCH("4"), GO_ON, 0));
        CHECK(shared->status == AFFECT_STATUS_OK);
        bool same = same_tensors(whole, other, AFFECT_BEST_FILE);
        if (!same) fprintf(stderr, "    killed at moment %d\n", moment);
        CHECK(same);
    }
}

/* Writes a folder's checkpoint again with one number of its metadata `part` changed; `within`: the
 * member of the part that has it, or NULL. */
static void change_checkpoint(const char *folder, const char *part, const char *within,
                              const char *name, double number) {
    char path[AFFECT_PATH_MAX];
    affect_safetensors *file = NULL;
    affect_json *value = NULL;
    CHECK_OK(affect_path_join(path, err, folder, "%s", AFFECT_LAST_FILE));
    CHECK_OK(affect_safetensors_open(&file, path, err));
    CHECK_OK(affect_safetensors_metadata_json(&value, file, part, err));
    affect_json *metadata = affect_json_copy(affect_safetensors_all_metadata(file));
    affect_json_set_number(within ? affect_json_get(value, within) : value, name, number);
    char *text = affect_json_text(value);
    affect_json_set_string(metadata, part, text);
    CHECK_OK(affect_safetensors_write(path, affect_safetensors_at(file, 0),
                                      affect_safetensors_count(file), metadata, err));
    free(text);
    affect_json_free(metadata);
    affect_json_free(value);
    affect_safetensors_close(file);
}

/* A checkpoint's numbers are believed only where they can be. */
static void test_wrong_checkpoints(void) {
    static const struct {
        const char *part, *within, *name;
        double number;
    } rows[] = {
        {"trainer", NULL, "epoch", -1},
        {"trainer", NULL, "epoch", 1e300},
        {"trainer", NULL, "step", 0.5},
        {"trainer", "position", "step", -1},
        {"trainer", "position", "step", 1e9},
        {"trainer", "position", "l2_rows", NAN},
        {"trainer", "schedule", "n_waiting", -1},
        {"trainer", "schedule", "learning_rate", -1},
        {"trainer", "stopping", "n_waiting", 1e19},
        {"engine", NULL, "threads", 1e9},
        {"engine", NULL, "rows_at_once", -1e300},
    };
    char folder[AFFECT_PATH_MAX];
    snprintf(folder, sizeof folder, "%s", scratch_path("wrong"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        CHECK_OK(affect_directory_remove(folder, err));
        forget();
        CHECK(live(folder, ARCHITECTURE(NORM), TRAINING, STOP, 1));
        CHECK(shared->status == AFFECT_STATUS_CANCELLED);
        change_checkpoint(folder, rows[i].part, rows[i].within, rows[i].name, rows[i].number);
        CHECK(live(folder, ARCHITECTURE(NORM), TRAINING, GO_ON, 0));
        if (shared->status != AFFECT_STATUS_MALFORMED)
            fprintf(stderr, "    %s %g: %s\n", rows[i].name, rows[i].number, shared->error);
        CHECK(shared->status == AFFECT_STATUS_MALFORMED);
    }
}

/* All cores means those that it began with; other threads are told of. */
static void test_other_threads_are_told(void) {
    char folder[AFFECT_PATH_MAX];
    snprintf(folder, sizeof folder, "%s", scratch_path("threads"));
#define THREE(threads) ",\"threads\":" threads ",\"training\":{\"epochs\":3}"
    forget();
    CHECK(live(folder, ARCHITECTURE(NORM), THREE("3"), STOP, 4));
    CHECK(live(folder, ARCHITECTURE(NORM), THREE("0"), STOP, 4));
    CHECK(shared->n_messages == 1 && strstr(shared->messages[0], "log: going on from") != NULL);
    CHECK(live(folder, ARCHITECTURE(NORM), THREE("1"), GO_ON, 0));
    CHECK(shared->status == AFFECT_STATUS_OK && shared->n_messages == 2);
    CHECK(strstr(shared->messages[1], "warning: going on with") != NULL &&
          strstr(shared->messages[1], "may differ") != NULL);
}

#define ATTENTION                                                                                  \
    "{\"type\":\"multi_head_attention\",\"name\":\"attention\",\"num_heads\":2,\"key_dim\":3},"

/* A network whose bits depend on the library of its products: resumed with the same one it ends as
 * if undisturbed; another one is told of. Other networks know nothing of it. */
static void test_library_of_products(void) {
    char whole[AFFECT_PATH_MAX], folder[AFFECT_PATH_MAX];
    snprintf(whole, sizeof whole, "%s", scratch_path("attention_whole"));
    snprintf(folder, sizeof folder, "%s", scratch_path("attention"));
    forget();
    CHECK(live(whole, ARCHITECTURE(ATTENTION), TRAINING, GO_ON, 0));
    forget();
    CHECK(live(folder, ARCHITECTURE(ATTENTION), TRAINING, STOP, 3));
    CHECK(live(folder, ARCHITECTURE(ATTENTION), TRAINING, STOP, 4));
    CHECK(shared->n_messages == 1); /* "going on from" alone */
    change_checkpoint(folder, "engine", NULL, "gemm", 0);
    CHECK(live(folder, ARCHITECTURE(ATTENTION), TRAINING, GO_ON, 0));
    CHECK(shared->status == AFFECT_STATUS_OK && shared->n_messages == 2);
    CHECK(strstr(shared->messages[1], "warning: going on with") != NULL &&
          strstr(shared->messages[1], "\"gemm\":") != NULL);
    CHECK(same_tensors(whole, folder, AFFECT_BEST_FILE));
    CHECK_OK(affect_directory_remove(folder, err));
    forget();
    CHECK(live(folder, ARCHITECTURE(ATTENTION), TRAINING, STOP, 3));
    setenv("AFFECT_BLAS_LIBRARY", "/nonexistent", 1);
    CHECK(live(folder, ARCHITECTURE(ATTENTION), TRAINING, GO_ON, 0));
    unsetenv("AFFECT_BLAS_LIBRARY");
    CHECK(shared->status == AFFECT_STATUS_OK);
    CHECK(strstr(shared->messages[1], "\"gemm\":\"none\"") != NULL);
    CHECK_OK(affect_directory_remove(folder, err));
    forget();
    CHECK(live(folder, ARCHITECTURE(NORM), TRAINING, STOP, 3));
    setenv("AFFECT_BLAS_LIBRARY", "/nonexistent", 1);
    CHECK(live(folder, ARCHITECTURE(NORM), TRAINING, GO_ON, 0));
    unsetenv("AFFECT_BLAS_LIBRARY");
    CHECK(shared->status == AFFECT_STATUS_OK && shared->n_messages == 1);
}

#define BATCH_OF_THREE                                                                             \
    ",\"threads\":2,\"training\":{\"epochs\":3,\"batch_size\":3,\"seed\":4,"                       \
    "\"learning_rate\":0.01}"

/* A batch that does not fit is computed in pieces: the same result within rounding, dropout on. */
static void test_pieces(void) {
    char whole[AFFECT_PATH_MAX], pieces[AFFECT_PATH_MAX], more[300];
    snprintf(whole, sizeof whole, "%s", scratch_path("whole_batch"));
    snprintf(pieces, sizeof pieces, "%s", scratch_path("pieces"));
    forget();
    CHECK(live(whole, ARCHITECTURE(""), BATCH_OF_THREE, GO_ON, 0));
    CHECK(shared->status == AFFECT_STATUS_OK && shared->pieces == 1 && shared->bytes > 0);
    told one = *shared;
    snprintf(more, sizeof more, "%s,\"memory_bytes\":%.0f", BATCH_OF_THREE, one.bytes - 1);
    forget();
    CHECK(live(pieces, ARCHITECTURE(""), more, GO_ON, 0));
    CHECK(shared->status == AFFECT_STATUS_OK && shared->pieces > 1);
    CHECK(shared->bytes < one.bytes);
    CHECK(strstr(shared->plan_message, "in 2 pieces of up to 2") != NULL);
    CHECK(strstr(shared->plan_message, "normalisation") == NULL);
    for (int e = 1; e <= EPOCHS; e++) {
        CHECK_NEAR(shared->loss[e], one.loss[e], 1e-5 * one.loss[e]);
        CHECK_NEAR(shared->val_loss[e], one.val_loss[e], 1e-5 * one.val_loss[e]);
    }
    double apart = difference(whole, pieces, AFFECT_BEST_FILE);
    fprintf(stderr, "    weights differ by %.1e\n", apart);
    CHECK(apart < 1e-5);
    forget();
    CHECK(live(pieces, ARCHITECTURE(NORM), more, GO_ON, 0));
    CHECK(shared->status == AFFECT_STATUS_CONFLICT);
}

/* Batch normalisation is told of; a limit that nothing fits in is an error, not a crash. */
static void test_limits(void) {
    char folder[AFFECT_PATH_MAX], more[300];
    snprintf(folder, sizeof folder, "%s", scratch_path("limits"));
    forget();
    CHECK(live(folder, ARCHITECTURE(NORM), BATCH_OF_THREE, STOP, 1));
    double bytes = shared->bytes;
    CHECK_OK(affect_directory_remove(folder, err));
    snprintf(more, sizeof more, "%s,\"memory_bytes\":%.0f", BATCH_OF_THREE, bytes - 1);
    CHECK(live(folder, ARCHITECTURE(NORM), more, STOP, 1));
    CHECK(strstr(shared->plan_message, "statistics of each piece") != NULL);
    /* what it was computed in is kept, though all of it fits now */
    CHECK(live(folder, ARCHITECTURE(NORM), BATCH_OF_THREE, GO_ON, 0));
    CHECK(shared->status == AFFECT_STATUS_OK && shared->pieces == 2 && shared->n_messages == 1);
    CHECK_OK(affect_directory_remove(folder, err));
    snprintf(more, sizeof more, "%s,\"memory_bytes\":1000", BATCH_OF_THREE);
    CHECK(live(folder, ARCHITECTURE(NORM), more, GO_ON, 0));
    CHECK(shared->status == AFFECT_STATUS_NO_MEMORY);
    CHECK(strstr(shared->error, "a batch of 1 needs") != NULL);
}

/* A dry run answers without taking what does not fit: 16 million parameters, four times over. */
static void test_dry_run_of_too_much(void) {
    static const char large[] = "{\"type\":\"flatten\",\"name\":\"flat\"},"
                                "{\"type\":\"dense\",\"name\":\"a\",\"units\":4000},"
                                "{\"type\":\"dense\",\"name\":\"b\",\"units\":4000},";
    affect_buffer architecture = {0};
    struct rusage before, after;
    affect_buffer_printf(&architecture, ARCHITECTURE("%s"), large);
    forget();
    CHECK(getrusage(RUSAGE_CHILDREN, &before) == 0);
    CHECK(live("", affect_buffer_string(&architecture),
               ",\"dry_run\":true,\"memory_bytes\":1000000", GO_ON, 0));
    CHECK(getrusage(RUSAGE_CHILDREN, &after) == 0);
    CHECK(shared->status == AFFECT_STATUS_OK && shared->bytes > 200e6);
    CHECK(after.ru_maxrss - before.ru_maxrss < 100 << 10); /* KiB */
    affect_buffer_free(&architecture);
}

/* Rows of what is computed at once: the largest that really comes, in every order of the epochs. */
static void test_rows(void) {
    static size_t order[4], scratch_order[4];
    affect_dataset *dataset = NULL;
    affect_training_config config;
    size_t indices[4] = {0, 1, 2, 3}, lengths[4] = {1, 10, 100, 1000}, rows = 0;
    CHECK_OK(affect_dataset_open(&dataset, scratch_path("dataset"), NULL, err));
    CHECK_OK(affect_training_config_parse(&config, NULL, "", err));
    affect_training t = {.dataset = dataset, .config = &config};
    t.indices[AFFECT_PART_TRAINING] = indices;
    t.n[AFFECT_PART_TRAINING] = 4;
    config.epochs = 1;
    affect_training_order(order, scratch_order, &t, 1);
    size_t pairs[2] = {lengths[order[0]] + lengths[order[1]],
                       lengths[order[2]] + lengths[order[3]]};
    CHECK_OK(affect_memory_plan_count_rows(&rows, &t, lengths, 2, 2, err));
    CHECK(rows == (pairs[0] > pairs[1] ? pairs[0] : pairs[1]));
    CHECK_OK(affect_memory_plan_count_rows(&rows, &t, lengths, 4, 1, err));
    CHECK(rows == 1000);
    CHECK_OK(affect_memory_plan_count_rows(&rows, &t, lengths, 4, 4, err));
    CHECK(rows == 1111);
    config.epochs = 50; /* in fifty orders the two longest meet */
    CHECK_OK(affect_memory_plan_count_rows(&rows, &t, lengths, 2, 2, err));
    CHECK(rows == 1100);
    config.epochs = 100000000; /* too many to look at: a bound */
    CHECK_OK(affect_memory_plan_count_rows(&rows, &t, lengths, 2, 2, err));
    CHECK(rows == 1100);
    affect_training_config_free(&config);
    affect_dataset_close(dataset);
}

enum { N_LONG = 30 };

/* A dataset of N_LONG utterances of these frames: a shard of zeros and its manifest. Owned. */
static affect_dataset *make_lengths(const size_t *lengths) {
    static float motion[N_LONG * FIXTURE_PARTS * FIXTURE_COLUMNS], pad[N_LONG];
    static float mel[N_LONG * FIXTURE_FRAMES * FIXTURE_MELS];
    static uint8_t missing[N_LONG * FIXTURE_PARTS * FIXTURE_COLUMNS];
    char folder[AFFECT_PATH_MAX], path[AFFECT_PATH_MAX];
    int64_t offsets[N_LONG + 1] = {0};
    affect_json *ids = affect_json_new_array(), *quality = affect_json_new_array();
    affect_json *features = affect_json_new_object(), *none = affect_json_new_array();
    affect_buffer rows = {0}, text = {0};
    affect_dataset *dataset = NULL;
    for (size_t i = 0; i < N_LONG; i++) {
        char id[16];
        offsets[i + 1] = offsets[i] + (int64_t)lengths[i];
        snprintf(id, sizeof id, "a_F%03zu", i);
        affect_json_append(ids, affect_json_new_string(id));
        affect_json_append(quality, affect_json_new_object());
        affect_buffer_printf(&rows, "%s" FIXTURE_UTTERANCE_OF("a_F%03zu", "sad", "0", "%zu"),
                             i ? "," : "", i, i);
    }
    const affect_sizes sizes = sizes_of(fixture_sizes);
    const affect_shard_content content = {
        .n_utterances = N_LONG,
        .sizes = &sizes,
        .values = {{.offsets = offsets, .values = mel, .pad_value = pad},
                   {.values = motion, .missing = missing}},
        .features = features,
        .utterances = ids,
        .quality = quality,
        .rejected = none};
    snprintf(folder, sizeof folder, "%s", scratch_path("lengths"));
    CHECK_OK(affect_path_join(path, err, folder, "store"));
    CHECK_OK(affect_directory_make(path, err));
    fixture_write_shard(folder, 1);
    CHECK_OK(affect_path_join(path, err, folder, "store/%s.safetensors", FIXTURE_KEY_A));
    CHECK_OK(affect_shard_write(path, &content, err));
    affect_buffer_printf(&text, FIXTURE_MANIFEST("%s"), affect_buffer_string(&rows));
    fixture_write_manifest(folder, affect_buffer_string(&text));
    CHECK_OK(affect_path_join(path, err, folder, "dataset"));
    CHECK_OK(affect_dataset_open(&dataset, path, NULL, err));
    if (!dataset) exit(1);
    affect_json *documents[] = {ids, quality, features, none};
    for (size_t i = 0; i < 4; i++) affect_json_free(documents[i]);
    affect_buffer_free(&rows);
    affect_buffer_free(&text);
    return dataset;
}

/* Equal pieces may have more rows than longer ones that fit: where long utterances come together.
 * Then the longer ones are taken. */
static void test_unequal_pieces(void) {
    enum { N = N_LONG };
    size_t order[N], scratch_order[N], indices[N], lengths[N] = {0};
    affect_training_config config;
    affect_train_spec spec = {0};
    CHECK_OK(affect_training_config_parse(&config, NULL, "", err));
    config.epochs = 1;
    config.batch_size = N;
    affect_training t = {.config = &config, .spec = &spec};
    for (size_t i = 0; i < N; i++) indices[i] = i;
    t.indices[AFFECT_PART_TRAINING] = indices;
    t.n[AFFECT_PART_TRAINING] = N;
    affect_training_order(order, scratch_order, &t, 1);
    for (size_t i = 0; i < 20; i++) lengths[order[i]] = i < 10 ? 4 : 8;
    t.dataset = make_lengths(lengths);
    affect_json *document = fixture_json(
        "{\"inputs\":{\"audio\":{\"feature\":\"mel\",\"shape\":[\"$frames\",\"$"
        "mels\",1]}},"
        "\"branches\":{\"audio\":{\"input\":\"audio\",\"layers\":"
        "[" TIME_DISTRIBUTED(
            "{\"type\":\"conv1d\",\"name\":\"conv\",\"filters\":"
            "512,\"kernel_size\":2}") "," TIME_DISTRIBUTED("{\"type\":\"flatten\",\"name\":"
                                                           "\"flatten\"}") ","
                                                                           "{\"type\":\"lstm\","
                                                                           "\"name\":\"lstm\","
                                                                           "\"units\":1}]}},"
                                                                           "\"fusion\":{"
                                                                           "\"branches\":["
                                                                           "\"audio\"],\"layers\":"
                                                                           "[{\"type\":\"dense\","
                                                                           "\"name\":\"output\","
                                                                           "\"units\":\"$"
                                                                           "classes\","
                                                                           "\"activation\":"
                                                                           "\"softmax\"}]}}");
    network_sizes sizes = {10, 4, 3, 189, 2};
    CHECK_OK(create_architecture(&t.architecture, document, NULL, sizes, err));
    CHECK_OK(affect_backend_open(&t.backend,
                                 (affect_backend_options){.device = "cpu", .n_threads = 1}, err));
    affect_memory_plan whole, plan;
    CHECK_OK(affect_memory_plan_make(&whole, &t, err));
    CHECK(whole.fits && whole.micro_batch == N && whole.rows == 10 * 5 + 10 * 9 + 10);
    for (size_t part = 40; part < 100; part++) { /* hundredths of what all of it takes */
        spec.memory_bytes = (int64_t)(whole.total * part / 100);
        CHECK_OK(affect_memory_plan_make(&plan, &t, err));
        if (!plan.fits) fprintf(stderr, "    %zu %%: %zu at once\n", part, plan.micro_batch);
        CHECK(plan.fits && plan.total <= plan.limit);
    }
    affect_backend_free(t.backend);
    affect_architecture_free(t.architecture);
    affect_json_free(document);
    affect_dataset_close(t.dataset);
    affect_training_config_free(&config);
}

int main(void) {
    lives_begin();
    TEST_RUN(test_any_moment);
    TEST_RUN(test_another_training_is_refused);
    TEST_RUN(test_best_of_another_training);
    TEST_RUN(test_wrong_checkpoints);
    TEST_RUN(test_other_threads_are_told);
    TEST_RUN(test_library_of_products);
    TEST_RUN(test_pieces);
    TEST_RUN(test_limits);
    TEST_RUN(test_dry_run_of_too_much);
    TEST_RUN(test_rows);
    TEST_RUN(test_unequal_pieces);
    scratch_end();
    return TEST_END();
}
