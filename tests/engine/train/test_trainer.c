/* A training that is stopped or killed at any of its moments goes on to the same bits; a batch in
 * pieces gives what the whole batch gives.
 *
 * Every training runs in a child process, so that it can be killed; what it tells is left in shared
 * memory. A moment is one call of a callback: after a step, after each of the two files of an
 * epoch, at its report, between the batches of an evaluation. */
#include "engine/train/training.h"
#include "tests/engine/core/scratch.h"
#include "tests/engine/corpus/store_fixture.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define TIME_DISTRIBUTED(layer) "{\"type\":\"time_distributed\",\"layer\":" layer "}"
#define AUDIO                                                                                      \
    TIME_DISTRIBUTED("{\"type\":\"conv1d\",\"name\":\"conv\",\"filters\":6,\"kernel_size\":3,"     \
                     "\"activation\":\"relu\",\"l2\":0.01}")                                       \
    "," TIME_DISTRIBUTED(                                                                          \
        "{\"type\":\"flatten\",\"name\":\"flatten\"}") ","                                         \
                                                       "{\"type\":\"bidirectional\",\"layer\":{"   \
                                                       "\"type\":\"lstm\",\"name\":\"lstm\","      \
                                                       "\"units\":5}},"                            \
                                                       "{\"type\":\"dropout\",\"name\":"           \
                                                       "\"dropout\",\"rate\":0.4}"
/* `norm`: a layer and a comma, or nothing. */
#define ARCHITECTURE(norm)                                                                         \
    "{\"name\":\"small\",\"inputs\":{"                                                             \
    "\"audio\":{\"feature\":\"mel\",\"shape\":[\"$frames\",\"$mels\",1]},"                         \
    "\"motion\":{\"feature\":\"motion\",\"shape\":[\"$parts\",\"$columns\"]}},"                    \
    "\"branches\":{\"audio\":{\"input\":\"audio\",\"layers\":[" AUDIO "]},"                        \
    "\"motion\":{\"input\":\"motion\",\"layers\":[" norm                                           \
    "{\"type\":\"flatten\",\"name\":\"flatten\"},"                                                 \
    "{\"type\":\"dense\",\"name\":\"dense\",\"units\":4,\"activation\":\"relu\"}]}},"              \
    "\"fusion\":{\"branches\":[\"audio\",\"motion\"],\"layers\":["                                 \
    "{\"type\":\"concatenate\",\"name\":\"concatenate\"},"                                         \
    "{\"type\":\"dense\",\"name\":\"output\",\"units\":\"$classes\","                              \
    "\"activation\":\"softmax\"}]}}"
#define NORM "{\"type\":\"batch_norm\",\"name\":\"norm\"},"

enum { EPOCHS = 3, MAX_MESSAGES = 8 };

typedef enum { GO_ON, STOP, KILL } ending;

/* What a training tells, and when it is to end: shared with the child. */
typedef struct {
    int moment, end_at; /* counted from 1; 0: never */
    ending how;
    affect_status status;
    char error[300];
    double loss[EPOCHS + 1], val_loss[EPOCHS + 1];
    bool told_differently, was_best[EPOCHS + 1];
    char messages[MAX_MESSAGES][600];
    int n_messages;
    double bytes, pieces; /* of the plan */
    char plan_message[300];
} told;

static told *shared;

static bool at_moment(void) {
    if (++shared->moment != shared->end_at || shared->how == GO_ON) return true;
    if (shared->how == KILL) kill(getpid(), SIGKILL);
    return false;
}

static bool on_step(void *context, size_t step, size_t steps) {
    (void)context, (void)step, (void)steps;
    return at_moment();
}

static bool on_epoch(void *context, const affect_json *report, bool best) {
    (void)context;
    int epoch = (int)affect_json_get_number(report, "epoch", 0);
    double loss = affect_json_get_number(report, "loss", NAN);
    double val_loss = affect_json_get_number(report, "val_loss", NAN);
    if (shared->loss[epoch] != 0 &&
        (shared->loss[epoch] != loss || shared->val_loss[epoch] != val_loss ||
         shared->was_best[epoch] != best))
        shared->told_differently = true;
    shared->loss[epoch] = loss;
    shared->val_loss[epoch] = val_loss;
    shared->was_best[epoch] = best;
    return at_moment();
}

static void on_checkpoint(void *context, const char *kind, int64_t epoch, size_t step) {
    (void)context, (void)kind, (void)epoch, (void)step;
    at_moment();
}

static void on_message(void *context, const char *level, const char *message) {
    (void)context;
    if (shared->n_messages == MAX_MESSAGES) return;
    snprintf(shared->messages[shared->n_messages++], sizeof *shared->messages, "%s: %s", level,
             message);
}

static void on_plan(void *context, const affect_json *plan, const char *message) {
    (void)context;
    const affect_json *bytes = affect_json_get(plan, "bytes");
    double sum = 0;
    for (const affect_json *b = affect_json_first(bytes); b; b = affect_json_next(b))
        sum += affect_json_number(b, NAN);
    shared->bytes = affect_json_get_number(bytes, "total", NAN);
    CHECK(sum == 2 * shared->bytes);
    shared->pieces = affect_json_get_number(plan, "pieces", NAN);
    snprintf(shared->plan_message, sizeof shared->plan_message, "%s", message);
}

static bool may_go_on(void *context) {
    (void)context;
    return at_moment();
}

/* The specification as JSON text; `more` begins with a comma or is empty. */
static affect_json *specification(const char *output, const char *architecture, const char *more) {
    affect_buffer text = {0};
    affect_buffer_printf(
        &text,
        "{\"dataset\":\"%s\",\"output\":\"%s\",\"device\":\"cpu\",\"resume\":true,"
        "\"checkpoint_seconds\":1e-9,\"architecture\":%s,"
        "\"split\":{\"kind\":\"random\",\"validation\":0.25,\"stratified\":false}%s}",
        scratch_path("dataset"), output, architecture, more);
    affect_json *json = fixture_json(affect_buffer_string(&text));
    affect_buffer_free(&text);
    return json;
}

static void train_here(const affect_json *document) {
    affect_error err = {0};
    affect_train_spec spec = {0};
    affect_train_result result = {0};
    const affect_train_callbacks callbacks = {.on_step = on_step,
                                              .on_epoch = on_epoch,
                                              .on_checkpoint = on_checkpoint,
                                              .on_message = on_message,
                                              .on_plan = on_plan,
                                              .may_go_on = may_go_on};
    shared->status = affect_train_spec_parse(&spec, document, &err);
    if (shared->status == AFFECT_STATUS_OK) {
        shared->status = affect_train(&result, &spec, &callbacks, &err);
        affect_train_spec_free(&spec);
    }
    affect_json_free(result.summary);
    snprintf(shared->error, sizeof shared->error, "%s", err.message);
}

/* One life of a training; false when it was killed. */
static bool live(const char *output, const char *architecture, const char *more, ending how,
                 int end_at) {
    affect_json *document = specification(output, architecture, more);
    shared->moment = 0;
    shared->how = how;
    shared->end_at = end_at;
    shared->n_messages = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        train_here(document);
        affect_json_free(document);
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    affect_json_free(document);
    CHECK(WIFEXITED(status) || how == KILL);
    return WIFEXITED(status);
}

static void forget(void) {
    memset(shared, 0, sizeof *shared);
}

/* The tensors of a model file: everything behind its header. Owned. */
static char *tensors(size_t *size, const char *folder, const char *file) {
    char path[AFFECT_PATH_MAX], *data = NULL;
    uint64_t header = 0;
    CHECK_OK(affect_path_join(path, err, folder, "%s", file));
    CHECK_OK(affect_file_read(&data, size, path, 1 << 24, err));
    if (!data) exit(1);
    memcpy(&header, data, sizeof header);
    *size -= 8 + header;
    memmove(data, data + 8 + header, *size);
    return data;
}

static bool same_tensors(const char *a, const char *b, const char *file) {
    size_t sizes[2];
    char *first = tensors(&sizes[0], a, file), *second = tensors(&sizes[1], b, file);
    bool same = sizes[0] == sizes[1] && memcmp(first, second, sizes[0]) == 0;
    free(first);
    free(second);
    return same;
}

#define TRAINING                                                                                   \
    ",\"threads\":2,\"training\":{\"epochs\":3,\"batch_size\":1,\"seed\":4,"                       \
    "\"learning_rate\":0.05,\"schedule\":{\"kind\":\"plateau\",\"patience\":1}}"

/* Ends it at every moment there is, in each way, and lets it go on. */
static void test_any_moment(void) {
    char whole[AFFECT_PATH_MAX], broken[AFFECT_PATH_MAX];
    snprintf(whole, sizeof whole, "%s", scratch_path("whole"));
    snprintf(broken, sizeof broken, "%s", scratch_path("broken"));
    forget();
    CHECK(live(whole, ARCHITECTURE(NORM), TRAINING, GO_ON, 0));
    CHECK(shared->status == AFFECT_STATUS_OK);
    CHECK_STRING(shared->error, "");
    told undisturbed = *shared;
    int n_moments = undisturbed.moment;
    CHECK(n_moments > 20 && undisturbed.loss[EPOCHS] > 0);
    for (int moment = 1; moment <= n_moments; moment++)
        for (ending how = STOP; how <= KILL; how++) {
            CHECK_OK(affect_directory_remove(broken, err));
            forget();
            CHECK(live(broken, ARCHITECTURE(NORM), TRAINING, how, moment) == (how == STOP));
            /* on_checkpoint cannot stop: such a life ends well */
            CHECK(how == KILL || shared->status == AFFECT_STATUS_CANCELLED ||
                  shared->status == AFFECT_STATUS_OK);
            CHECK(live(broken, ARCHITECTURE(NORM), TRAINING, GO_ON, 0));
            CHECK(shared->status == AFFECT_STATUS_OK && !shared->told_differently);
            for (int e = 1; e <= EPOCHS; e++)
                CHECK(shared->loss[e] == undisturbed.loss[e] &&
                      shared->val_loss[e] == undisturbed.val_loss[e] &&
                      shared->was_best[e] == undisturbed.was_best[e]);
            bool same = same_tensors(whole, broken, AFFECT_BEST_FILE) &&
                        same_tensors(whole, broken, AFFECT_LAST_FILE);
            if (!same) fprintf(stderr, "    ended at moment %d\n", moment);
            CHECK(same);
        }
    fprintf(stderr, "    %d moments\n", n_moments);
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

/* The largest difference between numbers of two files' tensors. */
static double difference(const char *a, const char *b, const char *file) {
    size_t sizes[2];
    double most = 0;
    char *data[2] = {tensors(&sizes[0], a, file), tensors(&sizes[1], b, file)};
    CHECK(sizes[0] == sizes[1] && sizes[0] > 0 && sizes[0] % sizeof(float) == 0);
    for (size_t i = 0; i < sizes[0]; i += sizeof(float)) {
        float x, y;
        memcpy(&x, data[0] + i, sizeof x);
        memcpy(&y, data[1] + i, sizeof y);
        most = fmax(most, fabs((double)x - (double)y));
    }
    free(data[0]);
    free(data[1]);
    return most;
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

int main(void) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return 1;
    scratch_begin();
    affect_dataset_close(fixture_open(scratch));
    TEST_RUN(test_any_moment);
    TEST_RUN(test_another_training_is_refused);
    TEST_RUN(test_other_threads_are_told);
    TEST_RUN(test_pieces);
    TEST_RUN(test_limits);
    TEST_RUN(test_rows);
    scratch_end();
    return TEST_END();
}
