/* Trainings that live, die and go on: each runs in a child process, so that it can be killed; what
 * it tells is left in shared memory. A moment is one call of a callback: after a step, after each
 * of the two files of an epoch, at its report, between the batches of an evaluation. */
#ifndef AFFECT_TESTS_LIVES_H
#define AFFECT_TESTS_LIVES_H

#include "engine/train/training.h"
#include "tests/engine/core/scratch.h"
#include "tests/engine/dataset/store_fixture.h"

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
static const char *device = "cpu";

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

static bool should_continue(void *context) {
    (void)context;
    return at_moment();
}

/* The specification as JSON text; `more` begins with a comma or is empty. */
static affect_json *specification(const char *output, const char *architecture, const char *more) {
    affect_buffer text = {0};
    affect_buffer_printf(
        &text,
        "{\"dataset\":\"%s\",\"output\":\"%s\",\"device\":\"%s\",\"precision\":\"fp32\",\"resume\":"
        "true,"
        "\"checkpoint_seconds\":1e-9,\"architecture\":%s,"
        "\"split\":{\"kind\":\"random\",\"validation\":0.25,\"stratified\":false}%s}",
        scratch_path("dataset"), output, device, architecture, more);
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
                                              .should_continue = should_continue};
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

/* Ends it at every moment there is (or each `step`th), in each way, and lets it go on. */
static void check_any_moment(int step) {
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
    for (int moment = 1; moment <= n_moments; moment += step)
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

static void lives_begin(void) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) exit(1);
    scratch_begin();
    affect_dataset_close(fixture_open(scratch));
}

#endif
