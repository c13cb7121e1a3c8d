/* Splits: the study's sizes, stratification, determinism, speakers, and what is refused. */
#include "engine/evaluation/split.h"

#include "engine/core/digest.h"
#include "tests/engine/evaluation/split_text.h"
#include "tests/test.h"

#define N 5521

static int labels[N];
static const char *speakers[N];
static uint8_t parts[N], again[N];
static affect_json *manifest;
static affect_utterance_table table;

/* A manifest's rows of n utterances, with what a split by speaker reads. */
static affect_json *manifest_of(const int *of, const char *const *by, int n) {
    static const char *const classes[] = {"angry", "happy", "neutral", "sad"};
    affect_json *made = affect_json_new_object();
    affect_json *names = affect_json_set_array(made, "classes");
    for (int c = 0; c < 4; c++) affect_json_append(names, affect_json_new_string(classes[c]));
    affect_json *rows = affect_json_set_array(made, "utterances");
    for (int i = 0; i < n; i++) {
        affect_json *row = affect_json_append(rows, affect_json_new_object());
        affect_json_set_string(row, "label", classes[of[i]]);
        affect_json_set_string(row, "speaker", by[i]);
    }
    return made;
}

/* IEMOCAP's four classes in the study's proportions, ten speakers in turn. */
static void make_corpus(void) {
    static const char *const names[] = {"Ses01F", "Ses01M", "Ses02F", "Ses02M", "Ses03F",
                                        "Ses03M", "Ses04F", "Ses04M", "Ses05F", "Ses05M"};
    for (int i = 0; i < N; i++) {
        labels[i] = i < 1103 ? 0 : i < 1103 + 1636 ? 1 : i < 1103 + 1636 + 1708 ? 2 : 3;
        speakers[i] = names[i % 10];
    }
    manifest = manifest_of(labels, speakers, N);
    CHECK_OK(affect_utterance_table_make(&table, manifest, err));
}

/* Of the first n utterances. */
static affect_status split(uint8_t *to, const char *text, size_t n, affect_error *error) {
    affect_split_config config;
    affect_utterance_table first = table;
    first.n = n;
    CHECK_OK(read_config(&config, text, err));
    affect_status status = affect_split_make(to, &config, &first, error);
    affect_split_config_free(&config);
    return status;
}

static size_t count(const uint8_t *of, size_t n, affect_part part, int label) {
    size_t found = 0;
    for (size_t i = 0; i < n; i++) found += of[i] == part && (label < 0 || labels[i] == label);
    return found;
}

static void test_sizes_of_the_study(void) {
    const char *const kinds[] = {"{\"stratified\":true}", "{\"stratified\":false}"};
    for (int k = 0; k < 2; k++) {
        CHECK_OK(split(parts, kinds[k], N, err));
        CHECK(count(parts, N, AFFECT_PART_VALIDATION, -1) == 1105); /* ceil(0.2 * 5521) */
        CHECK(count(parts, N, AFFECT_PART_TRAINING, -1) == 4416);
        CHECK(count(parts, N, AFFECT_PART_TEST, -1) == 0);
    }
    CHECK_OK(split(parts, "{\"validation\":0.2,\"test\":0.1}", N, err));
    CHECK(count(parts, N, AFFECT_PART_TEST, -1) == 553);
    CHECK(count(parts, N, AFFECT_PART_VALIDATION, -1) == 1105);
}

static void test_stratified(void) {
    CHECK_OK(split(parts, "{\"validation\":0.2,\"test\":0.15,\"stratified\":true}", N, err));
    for (int c = 0; c < 4; c++) {
        double all = 0;
        for (int i = 0; i < N; i++) all += labels[i] == c;
        CHECK_NEAR(count(parts, N, AFFECT_PART_VALIDATION, c), 0.2 * all, 1.0);
        CHECK_NEAR(count(parts, N, AFFECT_PART_TEST, c), 0.15 * all, 1.0);
    }
}

/* Without stratification a class' share varies from seed to seed. */
static void test_not_stratified(void) {
    size_t first = 0;
    int n_other = 0;
    for (int seed = 0; seed < 10; seed++) {
        char text[64];
        snprintf(text, sizeof text, "{\"stratified\":false,\"seed\":%d}", seed);
        CHECK_OK(split(parts, text, N, err));
        size_t n = count(parts, N, AFFECT_PART_VALIDATION, 0);
        if (seed == 0) first = n;
        n_other += n != first;
        CHECK_NEAR(n, 0.2 * 1103, 60); /* 5 standard deviations are 59 */
    }
    CHECK(n_other > 0);
}

static void test_a_seed_is_a_split(void) {
    CHECK_OK(split(parts, "{\"seed\":7}", N, err));
    CHECK_OK(split(again, "{\"seed\":7}", N, err));
    CHECK(memcmp(parts, again, N) == 0);
    CHECK_OK(split(again, "{\"seed\":8}", N, err));
    size_t n_same = 0;
    for (int i = 0; i < N; i++)
        n_same += parts[i] == AFFECT_PART_VALIDATION && again[i] == parts[i];
    CHECK_NEAR(n_same, 0.2 * 1105, 70);
}

static void test_speakers(void) {
    CHECK_OK(split(parts,
                   "{\"kind\":\"speakers\",\"validation\":[\"Ses05F\"],\"test\":[\"Ses05M\"]}", N,
                   err));
    for (int i = 0; i < N; i++)
        CHECK(parts[i] == (i % 10 == 8   ? AFFECT_PART_VALIDATION
                           : i % 10 == 9 ? AFFECT_PART_TEST
                                         : AFFECT_PART_TRAINING));
    CHECK_OK(
        split(parts, "{\"kind\":\"speakers\",\"validation\":[\"Ses01F\",\"Ses01M\"]}", N, err));
    CHECK(count(parts, N, AFFECT_PART_TEST, -1) == 0);
    CHECK(parts[0] == AFFECT_PART_VALIDATION && parts[1] == AFFECT_PART_VALIDATION);
}

static void check_config_refused(const char *text, const char *pointer) {
    affect_split_config config;
    affect_error error = {0};
    CHECK(read_config(&config, text, &error) == AFFECT_STATUS_INVALID);
    CHECK_STRING(error.pointer, pointer);
}

static void test_refused_configs(void) {
    check_config_refused("{\"kind\":\"folds\"}", "/split/kind");
    check_config_refused("{\"valid\":0.2}", "/split/valid");
    check_config_refused("{\"validation\":0}", "/split/validation");
    check_config_refused("{\"validation\":1}", "/split/validation");
    check_config_refused("{\"validation\":-0.1}", "/split/validation");
    check_config_refused("{\"validation\":0.5,\"test\":0.5}", "/split/validation");
    check_config_refused("{\"validation\":[\"Ses01F\"]}", "/split/validation");
    check_config_refused("{\"kind\":\"speakers\"}", "/split/validation");
    check_config_refused("{\"kind\":\"speakers\",\"validation\":0.2}", "/split/validation");
    check_config_refused("{\"kind\":\"speakers\",\"validation\":[]}", "/split/validation");
    check_config_refused("{\"kind\":\"speakers\",\"validation\":[1]}", "/split/validation");
    check_config_refused("{\"kind\":\"speakers\",\"validation\":[\"a\"],\"test\":0.1}",
                         "/split/test");
    check_config_refused("{\"seed\":-1}", "/split/seed");
}

static void check_split_refused(const char *text, size_t n, const char *says) {
    affect_error error = {0};
    CHECK(split(parts, text, n, &error) == AFFECT_STATUS_INVALID);
    CHECK(strstr(error.message, says) != NULL);
}

static void test_refused_splits(void) {
    check_split_refused("{\"kind\":\"speakers\",\"validation\":[\"Ses06F\"]}", N, "Ses06F");
    check_split_refused("{\"kind\":\"speakers\",\"validation\":[\"Ses05F\",\"Ses05F\"]}", N,
                        "twice");
    check_split_refused("{\"kind\":\"speakers\",\"validation\":[\"Ses05F\"],\"test\":[\"Ses05F\"]}",
                        N, "twice");
    check_split_refused("{\"kind\":\"speakers\",\"validation\":[\"Ses01F\"]}", 1, "0 to train");
    check_split_refused("{}", 1, "0 to train");
    CHECK_OK(split(parts, "{}", 2, err));
}

static void test_print_reads_back(void) {
    static const char *const texts[] = {
        "{\"kind\":\"random\",\"validation\":0.25,\"test\":0.1,\"stratified\":false,\"seed\":3}",
        "{\"kind\":\"speakers\",\"validation\":[\"a\"],\"test\":[\"b\",\"c\"]}"};
    for (int i = 0; i < 2; i++) {
        affect_split_config config;
        CHECK_OK(read_config(&config, texts[i], err));
        affect_json *printed = affect_json_new_object();
        affect_split_config_print(printed, &config);
        char *text = affect_json_text(printed);
        CHECK_STRING(text, texts[i]);
        free(text);
        affect_json_free(printed);
        affect_split_config_free(&config);
    }
}

/* ---- Stored splits ---- */

/* Made by the first version of the program: a split that a job or a model names stays the same
 * split. Parts of 60 utterances (0 training, 1 validation, 2 test), and the SHA-256 of those of
 * 5521. */
static const struct {
    const char *config, *parts, *digest;
} stored[] = {
    {"{}", "001010010000110000001001000000000000000001000011001010000000",
     "4cc5e4ba2b1445716816817a89af1df52bae3f80396ca936a78463eddbe297b5"},
    {"{\"seed\":2}", "000000000000110000101010000100000101000000100000000011001000",
     "b10599770162f1d2788b1d3045633a057124ba3d1b9b660c51f987f70cf2057e"},
    {"{\"seed\":7,\"stratified\":false}",
     "000000101000000100000000001101110000000000000000000110010001",
     "6b5f23b7285f892c0b001cd9f1a51a5e9ca0ae386c2d2c482f8c6978818e6879"},
    {"{\"validation\":0.25,\"test\":0.1,\"seed\":3}",
     "110101020000020121000100100110002100010000020101100002000000",
     "d1918a88eaf4e1751c65264cca0b7934ed571c2f790c43d2dfa3a27bd21b2fbf"},
    {"{\"validation\":0.25,\"test\":0.1,\"seed\":3,\"stratified\":false}",
     "110101020000020021000100100110012000011000010201100002000000",
     "47620356ece74026fa9ffc56b2447936f9193f695a323161c6183bbb9da580ea"},
    {"{\"validation\":0.5,\"seed\":9007199254740991}",
     "001101111110001110101010101001100110000010000111111010100001",
     "ae49e6c104e704e215002f109be6d6855b970519c8b1502ad4e81beb0db0605a"},
    {"{\"validation\":0.01,\"test\":0.3,\"seed\":12}",
     "022200200200200220200100002002002220000200200000000002200000",
     "e435c5bac654af25597b7bcea9978b8e4096a1792f84c6e8a47b0334bdbaa62f"},
    {"{\"kind\":\"speakers\",\"validation\":[\"Ses02F\"],\"test\":[\"Ses01M\",\"Ses05M\"]}",
     "000210020000021002000002100200000210020000021002000002100200",
     "cd1dde77da2a56907aa34930aa6a9b45d0318b764b3ee596e91eb66f1efe9c50"},
    {"{\"kind\":\"speakers\",\"validation\":[\"Ses03M\",\"Ses01F\"]}",
     "100001000010000100001000010000100001000010000100001000010000",
     "6a48016694c2b3d64a894c0290af08f29cdc0b56016a87bea545399ca6985346"},
};

static void test_stored_parts(void) {
    static int corpus_labels[N];
    static const char *corpus_speakers[N];
    for (int i = 0; i < N; i++) {
        corpus_labels[i] = i * i % 7 % 4;
        corpus_speakers[i] = speakers[i * 3 % 10];
    }
    affect_json *rows = manifest_of(corpus_labels, corpus_speakers, N);
    affect_utterance_table corpus;
    CHECK_OK(affect_utterance_table_make(&corpus, rows, err));
    for (size_t s = 0; s < sizeof stored / sizeof *stored; s++) {
        affect_split_config config;
        affect_digest digest;
        char text[AFFECT_DIGEST_TEXT_SIZE], small[61] = "";
        CHECK_OK(read_config(&config, stored[s].config, err));
        corpus.n = 60;
        CHECK_OK(affect_split_make(parts, &config, &corpus, err));
        for (int i = 0; i < 60; i++) small[i] = (char)('0' + parts[i]);
        CHECK_STRING(small, stored[s].parts);
        corpus.n = N;
        CHECK_OK(affect_split_make(parts, &config, &corpus, err));
        affect_digest_begin(&digest);
        affect_digest_update(&digest, parts, N);
        affect_digest_end(&digest, text);
        CHECK_STRING(text, stored[s].digest);
        affect_split_config_free(&config);
    }
    affect_utterance_table_free(&corpus);
    affect_json_free(rows);
}

int main(void) {
    make_corpus();
    TEST_RUN(test_sizes_of_the_study);
    TEST_RUN(test_stratified);
    TEST_RUN(test_not_stratified);
    TEST_RUN(test_a_seed_is_a_split);
    TEST_RUN(test_speakers);
    TEST_RUN(test_refused_configs);
    TEST_RUN(test_refused_splits);
    TEST_RUN(test_print_reads_back);
    TEST_RUN(test_stored_parts);
    affect_utterance_table_free(&table);
    affect_json_free(manifest);
    return TEST_END();
}
