/* The same trainings on the emulated GPU (tests/cuda_host): they go on to the same bits after any
 * end, whether features are kept on the device or streamed; checkpoints change between CPU and GPU;
 * trials side by side have the bits they have alone.
 *
 * With an argument, the plug-in's file, on a real GPU. */
#include "tests/engine/train/lives.h"

#include "engine/device/backend.h"
#include "engine/train/trials.h"

static void test_any_moment(void) {
    check_any_moment(7);
}

static bool was_told(const char *words) {
    for (int i = 0; i < shared->n_messages; i++)
        if (strstr(shared->messages[i], words)) return true;
    return false;
}

/* With just the memory of the plan no room is left for the features. */
static void test_streaming(void) {
    char kept[AFFECT_PATH_MAX], streamed[AFFECT_PATH_MAX], more[300];
    snprintf(kept, sizeof kept, "%s", scratch_path("kept"));
    snprintf(streamed, sizeof streamed, "%s", scratch_path("streamed"));
    forget();
    CHECK(live(kept, ARCHITECTURE(NORM), TRAINING, GO_ON, 0));
    CHECK(shared->status == AFFECT_STATUS_OK && was_told("kept on the device"));
    told first = *shared;
    snprintf(more, sizeof more, "%s,\"memory_bytes\":%.0f", TRAINING, shared->bytes);
    forget();
    CHECK(live(streamed, ARCHITECTURE(NORM), more, GO_ON, 0));
    CHECK(shared->status == AFFECT_STATUS_OK && was_told("streamed from the host"));
    for (int e = 1; e <= EPOCHS; e++)
        CHECK(shared->loss[e] == first.loss[e] && shared->val_loss[e] == first.val_loss[e]);
    CHECK(same_tensors(kept, streamed, AFFECT_LAST_FILE));
}

/* A batch in pieces: what is marked and waited for between them is outside of recordings. */
static void test_pieces(void) {
    static const char batch_of_three[] = ",\"threads\":1,\"training\":{\"epochs\":3,"
                                         "\"batch_size\":3,\"seed\":4,\"learning_rate\":0.01}";
    char whole[AFFECT_PATH_MAX], pieces[AFFECT_PATH_MAX], more[300];
    snprintf(whole, sizeof whole, "%s", scratch_path("whole_batch"));
    snprintf(pieces, sizeof pieces, "%s", scratch_path("pieces"));
    forget();
    CHECK(live(whole, ARCHITECTURE(""), batch_of_three, GO_ON, 0));
    CHECK(shared->status == AFFECT_STATUS_OK && shared->pieces == 1);
    told one = *shared;
    snprintf(more, sizeof more, "%s,\"memory_bytes\":%.0f", batch_of_three, one.bytes - 1);
    forget();
    CHECK(live(pieces, ARCHITECTURE(""), more, GO_ON, 0));
    CHECK(shared->status == AFFECT_STATUS_OK && shared->pieces > 1);
    for (int e = 1; e <= EPOCHS; e++) CHECK_NEAR(shared->loss[e], one.loss[e], 1e-4 * one.loss[e]);
}

/* Begun on one device, ended on the other: told, and equal within rounding. */
static void check_change(const char *from, const char *to) {
    char whole[AFFECT_PATH_MAX], changed[AFFECT_PATH_MAX];
    snprintf(whole, sizeof whole, "%s", scratch_path(from));
    snprintf(changed, sizeof changed, "%s/changed", whole);
    device = from;
    forget();
    CHECK(live(whole, ARCHITECTURE(NORM), TRAINING, GO_ON, 0));
    told undisturbed = *shared;
    forget();
    CHECK(!live(changed, ARCHITECTURE(NORM), TRAINING, KILL, 10));
    device = to;
    CHECK(live(changed, ARCHITECTURE(NORM), TRAINING, GO_ON, 0));
    CHECK(shared->status == AFFECT_STATUS_OK && was_told("may differ"));
    for (int e = 1; e <= EPOCHS; e++) CHECK_NEAR(shared->loss[e], undisturbed.loss[e], 1e-4);
    double apart = difference(whole, changed, AFFECT_LAST_FILE);
    fprintf(stderr, "    weights differ by %.1e\n", apart);
    CHECK(apart > 0 && apart < 1e-3);
    device = "cuda";
}

static void test_changes_of_device(void) {
    check_change("cpu", "cuda");
    check_change("cuda", "cpu");
}

enum { TRIALS = 3 };

typedef struct {
    affect_train_spec spec;
    affect_train_callbacks callbacks;
    affect_json *document;
    double val_loss;
} one_trial;

static bool on_trial_epoch(void *context, const affect_json *report, bool best) {
    (void)best;
    ((one_trial *)context)->val_loss = affect_json_get_number(report, "val_loss", NAN);
    return true;
}

/* In children, as no thread may be alive when the other tests fork. */
static void run_trials(size_t micro_batch) {
    one_trial all[TRIALS];
    affect_trial runs[TRIALS];
    for (int i = 0; i < TRIALS; i++) {
        char output[AFFECT_PATH_MAX], more[200];
        snprintf(output, sizeof output, "%s-%s-%zu-%d", scratch_path("trial"), device, micro_batch,
                 i);
        snprintf(more, sizeof more,
                 ",\"threads\":1,\"training\":{\"epochs\":%d,\"batch_size\":1,\"seed\":%d}", EPOCHS,
                 i + 1);
        all[i].document = specification(output, ARCHITECTURE(NORM), more);
        CHECK_OK(affect_train_spec_parse(&all[i].spec, all[i].document, err));
        all[i].callbacks = (affect_train_callbacks){.context = &all[i], .on_epoch = on_trial_epoch};
        runs[i] = (affect_trial){.spec = &all[i].spec, .callbacks = &all[i].callbacks};
    }
    CHECK_OK(affect_trials_run(runs, TRIALS, micro_batch, err));
    for (int i = 0; i < TRIALS; i++) {
        CHECK(runs[i].status == AFFECT_STATUS_OK);
        shared->loss[i] = all[i].val_loss;
        affect_json_free(runs[i].result.summary);
        affect_train_spec_free(&all[i].spec);
        affect_json_free(all[i].document);
    }
    shared->status = test_n_failed ? AFFECT_STATUS_INTERNAL : AFFECT_STATUS_OK;
}

static void run_trials_in_child(size_t micro_batch) {
    int status = 0;
    forget();
    shared->status = AFFECT_STATUS_BUSY;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        run_trials(micro_batch);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(shared->status == AFFECT_STATUS_OK);
}

static void test_trials(void) {
    double alone[TRIALS];
    char a[AFFECT_PATH_MAX], b[AFFECT_PATH_MAX];
    run_trials_in_child(1);
    memcpy(alone, shared->loss, sizeof alone);
    run_trials_in_child(TRIALS);
    for (int i = 0; i < TRIALS; i++) {
        CHECK(alone[i] > 0 && shared->loss[i] == alone[i]);
        snprintf(a, sizeof a, "%s-%s-1-%d", scratch_path("trial"), device, i);
        snprintf(b, sizeof b, "%s-%s-%d-%d", scratch_path("trial"), device, TRIALS, i);
        CHECK(same_tensors(a, b, AFFECT_LAST_FILE));
        for (int k = 0; k < i; k++) CHECK(alone[i] != alone[k]);
    }
    affect_error error = {0};
    CHECK(affect_trials_run(NULL, 1, 0, &error) == AFFECT_STATUS_INVALID);
    CHECK(affect_trials_run(NULL, 0, 4, &error) == AFFECT_STATUS_OK);
}

/* Asked in a child: a process that has met the driver cannot fork trainings that use it. */
static void need_device(void) {
    forget();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        affect_device devices[AFFECT_MAX_DEVICES];
        affect_error missing = {0};
        if (affect_devices_list(devices, &missing) < 2)
            snprintf(shared->error, sizeof shared->error, "no GPU: %s", missing.message);
        _exit(0);
    }
    CHECK(waitpid(pid, NULL, 0) == pid);
    if (!shared->error[0]) return;
    scratch_end();
    TEST_SKIP(shared->error);
}

int main(int argc, char **argv) {
    setenv("AFFECT_CUDA_LIBRARY", argc > 1 ? argv[1] : TEST_CUDA_LIBRARY, 1);
    lives_begin();
    need_device();
    device = "cuda";
    TEST_RUN(test_any_moment);
    TEST_RUN(test_streaming);
    TEST_RUN(test_pieces);
    TEST_RUN(test_changes_of_device);
    TEST_RUN(test_trials);
    device = "cpu";
    TEST_RUN(test_trials);
    scratch_end();
    return TEST_END();
}
