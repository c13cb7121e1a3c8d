/* A training that is stopped or killed at any of its moments goes on to the same bits; a batch in
 * pieces gives what the whole batch gives.
 *
 * Every training runs in a child process, so that it can be killed; what it tells is left in shared
 * memory. A moment is one call of a callback: after a step, after each of the two files of an
 * epoch, at its report, between the batches of an evaluation. */
#include "engine/train/trainer.h"
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

int main(void) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return 1;
    scratch_begin();
    affect_dataset_close(fixture_open(scratch));
    TEST_RUN(test_any_moment);
    TEST_RUN(test_another_training_is_refused);
    TEST_RUN(test_other_threads_are_told);
    scratch_end();
    return TEST_END();
}
