/* Motion text: numbers against strtod, files in every shape that a real copy has, files that lie.
 */
#include "engine/core/random.h"
#include "engine/modality/mocap_text.h"

#include "tests/test.h"

#include <locale.h>
#include <stdint.h>

/* ---- Numbers ---- */

static bool parse(double *value, const char *text, size_t *length) {
    char line[65600];
    snprintf(line, sizeof line, "%s\n", text);
    const char *cursor = line;
    bool valid = affect_mocap_number(value, &cursor, line + strlen(text));
    *length = (size_t)(cursor - line);
    return valid;
}

/* Equal as float; as double equal, or `ulps` steps apart. Returns the steps. */
static void check_like_strtod(const char *text, int ulps) {
    double got = 0, want = strtod(text, NULL);
    size_t length = 0;
    bool valid = parse(&got, text, &length) && length == strlen(text);
    double near = got;
    for (int i = 0; i < ulps && near != want; i++) near = nextafter(near, want);
    bool good = valid && near == want && signbit(got) == signbit(want);
    CHECK(good);
    if (!good) fprintf(stderr, "    \"%.60s\": %.17g, strtod %.17g\n", text, got, want);
}

static uint64_t next_random(uint64_t *state) { /* splitmix64 */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void test_random_numbers(void) {
    uint64_t state = 7;
    char text[64];
    for (int i = 0; i < 50000; i++) {
        double value = ((double)(int64_t)next_random(&state)) / 9.3e15;
        snprintf(text, sizeof text, "%.5f", value); /* as the corpus prints */
        check_like_strtod(text, 0);
        snprintf(text, sizeof text, "%.15g", value);
        check_like_strtod(text, 0);
        snprintf(text, sizeof text, "%.17g", value * 1e-30);
        check_like_strtod(text, 1);
        uint64_t bits = next_random(&state);
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) continue;
        snprintf(text, sizeof text, "%.17e", value);
        check_like_strtod(text, 1);
    }
}

static void test_hostile_numbers(void) {
    static const char *const numbers[] = {
        "0",
        "-0",
        "+1.5",
        "1.",
        ".5",
        "-.5",
        "007.250",
        "1e3",
        "1E+3",
        "1e-3",
        "1e308",
        "1e309",
        "-1e999",
        "1e-400",
        "0e99999",
        "4.9e-324",
        "2.2250738585072011e-308",
        "9007199254740993",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999999999",
        "0.00000000000000000000000000000000000000000000000012345678901234567890123",
        "123456789012345678901234567890.123456789e-10",
        "1e000000000000000000005",
        "1e99999999999999999999999999",
        "1e-99999999999999999999999999"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) check_like_strtod(numbers[i], 1);
    static char zeros[1024];
    memset(zeros, '0', 600);
    strcpy(zeros + 600, ".0125");
    check_like_strtod(zeros, 0);
    memmove(zeros + 2, zeros, 500), memcpy(zeros, "0.", 2), strcpy(zeros + 502, "7e501");
    check_like_strtod(zeros, 1);
    double value;
    size_t length;
    CHECK(parse(&value, "NaN", &length) && isnan(value) && length == 3);
    CHECK(parse(&value, "-nan", &length) && isnan(value));
    CHECK(parse(&value, "-Inf", &length) && value == -INFINITY && length == 4);
    CHECK(parse(&value, "INFINITY", &length) && value == INFINITY && length == 8);
    static const char *const wrong[] = {"", "-", ".", "+.", "e5", "1e", "1e+", "na", "--1", "x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(!parse(&value, wrong[i], &length));
    CHECK(parse(&value, "1,5", &length) && length == 1);  /* a comma ends a number, */
    CHECK(parse(&value, "0x10", &length) && length == 1); /* and so does an x */
}

static void test_locale_changes_nothing(void) {
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "pl_PL.UTF-8"};
    for (size_t i = 0; i < 4; i++)
        if (setlocale(LC_ALL, names[i])) fprintf(stderr, "  locale %s\n", names[i]);
    double value = 0;
    size_t length;
    CHECK(parse(&value, "1234.5", &length) && value == 1234.5);
    setlocale(LC_ALL, "C");
}

/* ---- Files ---- */

typedef struct {
    size_t n_rows, n_rejected, last_line;
    double sum, last_time, last_value;
    char reason[128];
    size_t fail_after; /* 0: never */
} record;

static affect_status on_row(void *context, double time_s, const double *values, affect_error *err) {
    record *seen = context;
    if (++seen->n_rows == seen->fail_after) return affect_fail(err, BUSY, "enough");
    for (int i = 0; i < 6; i++)
        if (isfinite(values[i])) seen->sum += values[i] * (i + 1);
    seen->last_time = time_s;
    seen->last_value = values[5];
    return AFFECT_STATUS_OK;
}

static void on_rejected(void *context, size_t line, const char *reason) {
    record *seen = context;
    seen->n_rejected++;
    seen->last_line = line;
    snprintf(seen->reason, sizeof seen->reason, "%s", reason);
}

static affect_status read_text(record *seen, affect_mocap_kind kind, const char *text, size_t size,
                               affect_error *err) {
    *seen = (record){0};
    affect_mocap_callbacks callbacks = {seen, on_row, on_rejected, NULL};
    return affect_mocap_read(NULL, (affect_source){.data = text, .size = size}, kind, &callbacks,
                             err);
}

static affect_status read_head(record *seen, const char *text, affect_error *err) {
    return read_text(seen, AFFECT_MOCAP_HEAD, text, strlen(text), err);
}

#define HEADER "Frame# Time pitch roll yaw tra_x tra_y tra_z\n\n"

static void test_rows(void) {
    record seen;
    CHECK_OK(
        read_head(&seen, HEADER "1 0.00000 1 2 3 4 5 6\n2 0.00834 1.5 NaN 3 4 5 -6.25\n", err));
    CHECK(seen.n_rows == 2 && seen.n_rejected == 0);
    CHECK(seen.last_time == 0.00834 && seen.last_value == -6.25);
    CHECK_NEAR(seen.sum, 1 + 4 + 9 + 16 + 25 + 36 + 1.5 + 9 + 16 + 25 - 37.5, 1e-12);
    CHECK_OK(read_head(&seen, HEADER "1 0 1 2 3 4 5 6\r\n2 1 1 2 3 4 5 7\r\n\r\n \t \n\n", err));
    CHECK(seen.n_rows == 2 && seen.n_rejected == 0 && seen.last_value == 7);
    CHECK_OK(read_head(&seen, "1\t0  1 2 3   4 5 8", err)); /* no header, no last newline */
    CHECK(seen.n_rows == 1 && seen.last_value == 8);
    CHECK_OK(read_head(&seen, "X Y Z\n1.5 2 3\nabc\n-3 0 1 2 3 4 5 nan", err));
    CHECK(seen.n_rows == 1 && seen.n_rejected == 0 && isnan(seen.last_value));
}

/* Rows as real files have them, where each value goes the quick way: bit for bit strtod's. Signs,
 * magnitudes and numbers of decimals vary, so that usual and other tokens stand side by side. */
static affect_status on_hand_row(void *context, double time_s, const double *values,
                                 affect_error *err) {
    (void)time_s, (void)err;
    memcpy(context, values, 18 * sizeof *values);
    return AFFECT_STATUS_OK;
}

static void test_usual_rows(void) {
    static const char *const formats[] = {"%.5f", "%.5f", "%.5f", "%.5f", "%.4f", "%.6f", "%+.5f"};
    affect_random_key key = {77, 1};
    uint64_t at = 0;
    for (int row = 0; row < 4000; row++) {
        char text[1024], tokens[18][32];
        double got[18] = {0};
        int used = snprintf(text, sizeof text, "%d %.5f", row, row / 120.0);
        for (int i = 0; i < 18; i++) {
            double size = pow(10, 6 * (double)affect_random_uniform(key, at++) - 2);
            double value = size * (2 * (double)affect_random_uniform(key, at++) - 1);
            const char *format = formats[(int)(7 * (double)affect_random_uniform(key, at++))];
            snprintf(tokens[i], sizeof tokens[i], format, value); /* NOLINT: from the table */
            used += snprintf(text + used, sizeof text - (size_t)used, " %s", tokens[i]);
        }
        used += snprintf(text + used, sizeof text - (size_t)used, row % 2 ? "\n" : "\r\n");
        affect_mocap_callbacks callbacks = {got, on_hand_row, NULL, NULL};
        char *exact = malloc((size_t)used); /* sanitizers see a byte read too far */
        memcpy(exact, text, (size_t)used);
        CHECK_OK(affect_mocap_read(NULL, (affect_source){.data = exact, .size = (size_t)used},
                                   AFFECT_MOCAP_HAND, &callbacks, err));
        free(exact);
        for (int i = 0; i < 18; i++) {
            double want = strtod(tokens[i], NULL);
            CHECK(memcmp(&got[i], &want, sizeof want) == 0);
        }
    }
}

/* Tokens that nearly look usual. */
static void test_unusual_tokens(void) {
    static const char *const bad[] = {"1..34567", "12x.34567", "1.2345x", "--1.00000", "1-.00000",
                                      "-x.00000", "1:2.00000", "/.34567", "12.34/67",  "12.345:7"};
    static const char *const good[] = {"-.50000", ".12345", "+1.00000", "0001.00000"};
    record seen;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[256];
        snprintf(text, sizeof text, "1 0 1 2 3 4 5 6\n2 1 1.00000 %s 3.00000 4 5 6.00000\n",
                 bad[i]);
        CHECK_OK(read_head(&seen, text, err));
        CHECK(seen.n_rows == 1 && seen.n_rejected == 1);
        CHECK(strstr(seen.reason, "value 2 is not a number") != NULL);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char text[256];
        snprintf(text, sizeof text, "2 1 1 2 3 4 5 %s 7.00000\n1 0 1 2 3 4 5 %s\n3 1 1 2 3 4 5 6\n",
                 good[i], good[i]);
        CHECK_OK(read_head(&seen, text, err));
        CHECK(seen.n_rows == 2 && seen.n_rejected == 1);
    }
}

static void test_bad_rows(void) {
    static const struct {
        const char *row, *word;
    } cases[] = {
        {"2 0.1 1 2 3 4 5", "5 values (head needs 6"},
        {"2 0.1 1 2 3 4 5 6 7", "7 values"},
        {"2 0.1", "0 values"},
        {"2", "nothing else"},
        {"2 0.1 1 2 x3 4 5 6", "value 3 is not a number: \"x3\""},
        {"2 0.1 1 2 3,5 4 5 6", "value 3 is not a number: \"3,5\""},
        {"2 0.1 1 2 3e 4 5 6", "value 3 is not"},
        {"2 0.1 1 2 0x10 4 5 6", "value 3 is not"},
        {"2 NaN 1 2 3 4 5 6", "time"},
        {"2 1e999 1 2 3 4 5 6", "time"},
        {"2 - 1 2 3 4 5 6", "time"},
        {"two 0.1 1 2 3 4 5 6", "frame number"},
        {"2.5 0.1 1 2 3 4 5 6", "frame number"},
        {"2 0.1 1 2 \x01\xff\" 4 5 6", "value 3 is not a number: \"???\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        snprintf(text, sizeof text, HEADER "1 0 1 2 3 4 5 6\n%s\n3 1 1 2 3 4 5 9\n", cases[i].row);
        record seen;
        CHECK_OK(read_head(&seen, text, err));
        CHECK(seen.n_rows == 2 && seen.n_rejected == 1 && seen.last_line == 4);
        CHECK(strstr(seen.reason, cases[i].word) != NULL);
        if (!strstr(seen.reason, cases[i].word))
            fprintf(stderr, "    %s: \"%s\"\n", cases[i].row, seen.reason);
        CHECK(seen.last_value == 9);
    }
    record seen; /* a 0 byte is no blank */
    const char zero[] = "1 0 1 2 3 4 5 6\n2 0 1 2 3\0 4 5 6\n";
    CHECK_OK(read_text(&seen, AFFECT_MOCAP_HEAD, zero, sizeof zero - 1, err));
    CHECK(seen.n_rows == 1 && seen.n_rejected == 1);
}

static void check_hopeless(affect_mocap_kind kind, const char *text, const char *word) {
    record seen;
    affect_error err = {0};
    CHECK(read_text(&seen, kind, text, strlen(text), &err) == AFFECT_STATUS_MALFORMED);
    CHECK(strstr(err.message, word) != NULL);
    if (!strstr(err.message, word)) fprintf(stderr, "    \"%s\"\n", err.message);
}

static void test_files_without_a_row(void) {
    check_hopeless(AFFECT_MOCAP_HAND, HEADER "1 0 1 2 3 4 5 6\n2 1 1 2 3 4 5 6\n",
                   "mocap hand: rows have 6 values (need 18");
    check_hopeless(AFFECT_MOCAP_FACE, HEADER "1 0 1 2 3 4 5 6\n", "need 165");
    check_hopeless(AFFECT_MOCAP_HEAD, "", "no rows in 0 lines");
    check_hopeless(AFFECT_MOCAP_HEAD, HEADER, "no rows in 2 lines");
    check_hopeless(AFFECT_MOCAP_HEAD, "a text\nof two lines", "no rows in 2 lines");
    check_hopeless(AFFECT_MOCAP_HEAD, "1 0 1 2 3 4 5 x\n2 0 1 2\n", "none of 2 rows");
}

/* A 10 MB line costs 64 KiB, and its neighbours are read. */
static void test_long_line(void) {
    size_t long_size = 10 << 20;
    char *text = malloc(long_size + 200), *p = text;
    p += sprintf(p, "1 0 1 2 3 4 5 6\n2 0 ");
    memset(p, '7', long_size);
    p += long_size;
    p += sprintf(p, " 1\n3 0 1 2 3 4 5 11\n");
    record seen;
    CHECK_OK(read_text(&seen, AFFECT_MOCAP_HEAD, text, (size_t)(p - text), err));
    CHECK(seen.n_rows == 2 && seen.n_rejected == 1 && seen.last_line == 2);
    CHECK(strstr(seen.reason, "longer than 65536") != NULL && seen.last_value == 11);
    memset(text, ' ', long_size); /* at the very end of the input, too */
    CHECK(read_text(&seen, AFFECT_MOCAP_HEAD, text, long_size, NULL) == AFFECT_STATUS_MALFORMED);
    CHECK(seen.n_rejected == 1);
    memset(text, ' ', AFFECT_MOCAP_MAX_LINE); /* the longest that is allowed */
    memcpy(text, "1 0 1 2 3 4 5 6", 15);
    text[AFFECT_MOCAP_MAX_LINE] = '\n';
    CHECK_OK(read_text(&seen, AFFECT_MOCAP_HEAD, text, AFFECT_MOCAP_MAX_LINE + 1, err));
    CHECK(seen.n_rows == 1 && seen.n_rejected == 0);
    free(text);
}

/* However the bytes are cut, the rows are the same. */
static void test_any_pieces(void) {
    char text[20000], *p = text;
    p += sprintf(p, HEADER);
    for (int i = 0; i < 200; i++)
        p += sprintf(p, i % 17 == 3 ? "%d bad %d\r\n" : "%d %d.5 1.25 -3 NaN 4e-1 5 %d\n", i, i, i);
    size_t size = (size_t)(p - text);
    record whole;
    CHECK_OK(read_text(&whole, AFFECT_MOCAP_HEAD, text, size, err));
    CHECK(whole.n_rows == 188 && whole.n_rejected == 12);
    for (size_t piece = 1; piece < 70; piece++) {
        record seen = {0};
        affect_mocap_callbacks callbacks = {&seen, on_row, on_rejected, NULL};
        affect_mocap_reader *reader = NULL;
        CHECK_OK(affect_mocap_reader_create(&reader, AFFECT_MOCAP_HEAD, &callbacks, err));
        for (size_t at = 0; at < size; at += piece)
            CHECK_OK(affect_mocap_reader_feed(reader, text + at,
                                              size - at < piece ? size - at : piece, err));
        CHECK_OK(affect_mocap_reader_finish(reader, err));
        affect_mocap_counts counts = affect_mocap_reader_counts(reader);
        CHECK(seen.n_rows == whole.n_rows && seen.n_rejected == whole.n_rejected);
        CHECK(seen.sum == whole.sum && seen.last_line == whole.last_line);
        CHECK(counts.n_rows == 188 && counts.n_rejected == 12 && counts.n_lines == 202);
        affect_mocap_reader_free(reader);
    }
}

static bool stop(void *context, size_t n_bytes) {
    *(size_t *)context += n_bytes;
    return false;
}

static void test_stops(void) {
    record seen = {.fail_after = 3};
    affect_mocap_callbacks callbacks = {&seen, on_row, NULL, NULL};
    const char *text = "1 0 1 2 3 4 5 6\n1 0 1 2 3 4 5 6\n1 0 1 2 3 4 5 6\n1 0 1 2 3 4 5 6\n";
    affect_source source = {.data = text, .size = strlen(text)};
    CHECK(affect_mocap_read(NULL, source, AFFECT_MOCAP_HEAD, &callbacks, NULL) ==
          AFFECT_STATUS_BUSY);
    CHECK(seen.n_rows == 3);
    size_t n_bytes = 0;
    record unused = {0};
    callbacks = (affect_mocap_callbacks){&unused, on_row, NULL, NULL};
    source = (affect_source){.path = "/nonexistent/face.txt"};
    CHECK(affect_mocap_read(NULL, source, AFFECT_MOCAP_HEAD, &callbacks, NULL) ==
          AFFECT_STATUS_NOT_FOUND);
    char *blanks = malloc(1 << 20);
    memset(blanks, '\n', 1 << 20);
    callbacks = (affect_mocap_callbacks){&n_bytes, on_row, NULL, stop};
    source = (affect_source){.data = blanks, .size = 1 << 20};
    CHECK(affect_mocap_read(NULL, source, AFFECT_MOCAP_HEAD, &callbacks, NULL) ==
          AFFECT_STATUS_CANCELLED);
    CHECK(n_bytes > 0 && n_bytes < 1 << 20);
    free(blanks);
}

/* Random bytes and damaged files, in random pieces: every row that comes out has a finite time, and
 * rows and rejected lines never outnumber lines. Run with a sanitizer, this is a small fuzzer. */
static void test_random_bytes(void) {
    static const char alphabet[] = "0123456789.-+eENnaAIif \t\r\n\n  1 2 3";
    uint64_t state = 99;
    char *text = malloc(4096);
    for (int round = 0; round < 3000; round++) {
        size_t size = next_random(&state) % 4096;
        for (size_t i = 0; i < size; i++) {
            uint64_t r = next_random(&state);
            text[i] = round % 3 == 0 ? (char)r : alphabet[r % (sizeof alphabet - 1)];
        }
        if (round % 3 == 2) /* good rows with single bytes changed */
            for (size_t at = 0; at + 16 <= size; at += 16) {
                memcpy(text + at, "1 0 1 2 3 4 5 6\n", 16);
                if (next_random(&state) % 4 == 0) text[at + next_random(&state) % 16] = (char)state;
            }
        record seen = {0};
        affect_mocap_callbacks callbacks = {&seen, on_row, on_rejected, NULL};
        affect_mocap_reader *reader = NULL;
        CHECK_OK(affect_mocap_reader_create(&reader, AFFECT_MOCAP_HEAD, &callbacks, err));
        for (size_t at = 0, n; at < size; at += n) {
            n = 1 + next_random(&state) % 700;
            n = n < size - at ? n : size - at;
            char *piece = malloc(n); /* exactly as long: reading past it is seen */
            memcpy(piece, text + at, n);
            CHECK_OK(affect_mocap_reader_feed(reader, piece, n, err));
            free(piece);
        }
        affect_status status = affect_mocap_reader_finish(reader, NULL);
        affect_mocap_counts counts = affect_mocap_reader_counts(reader);
        CHECK((status == AFFECT_STATUS_OK) == (counts.n_rows > 0));
        CHECK(counts.n_rows + counts.n_rejected <= counts.n_lines);
        CHECK(isfinite(seen.last_time) && seen.n_rows == counts.n_rows);
        affect_mocap_reader_free(reader);
    }
    free(text);
}

int main(void) {
    TEST_RUN(test_random_numbers);
    TEST_RUN(test_hostile_numbers);
    TEST_RUN(test_locale_changes_nothing);
    TEST_RUN(test_rows);
    TEST_RUN(test_usual_rows);
    TEST_RUN(test_unusual_tokens);
    TEST_RUN(test_bad_rows);
    TEST_RUN(test_files_without_a_row);
    TEST_RUN(test_long_line);
    TEST_RUN(test_any_pieces);
    TEST_RUN(test_stops);
    TEST_RUN(test_random_bytes);
    return TEST_END();
}
