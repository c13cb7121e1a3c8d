/* Unpacking: honest tars, and every attack that can be written as tar bytes by hand. Compressed
 * forms, zips and bombs: tests/corpus/test_import.py. */
#include "engine/corpus/archive.h"
#include "engine/corpus/iemocap.h"
#include "tests/test.h"

#include <unistd.h>

static char folder[] = "/tmp/test_archive_XXXXXX";
static char archive_path[AFFECT_PATH_MAX], staging[AFFECT_PATH_MAX];

typedef struct {
    char *data;
    size_t size;
} bytes;

/* One ustar entry; `size` bytes of content are announced and `given` written. */
static void add(bytes *tar, const char *name, char type, const char *link, size_t size,
                size_t given) {
    size_t padded = (given + 511) / 512 * 512;
    tar->data = realloc(tar->data, tar->size + 512 + padded);
    char *header = tar->data + tar->size;
    memset(header, 0, 512 + padded);
    memcpy(header, name, strnlen(name, 100));
    strcpy(header + 100, "0000644");
    strcpy(header + 108, "0000000");
    strcpy(header + 116, "0000000");
    sprintf(header + 124, "%011o", (unsigned)size);
    strcpy(header + 136, "00000000000");
    header[156] = type;
    strcpy(header + 157, link);
    memcpy(header + 257, "ustar\00000", 8);
    memset(header + 148, ' ', 8);
    unsigned sum = 0;
    for (int i = 0; i < 512; i++) sum += (unsigned char)header[i];
    sprintf(header + 148, "%06o", sum);
    memset(header + 512, 'x', given);
    tar->size += 512 + padded;
}

static void finish(bytes *tar) {
    tar->data = realloc(tar->data, tar->size + 1024);
    memset(tar->data + tar->size, 0, 1024);
    tar->size += 1024;
}

static bool select_entry(void *context, const char *name, char path[AFFECT_PATH_MAX]) {
    (void)context;
    return affect_iemocap_select(name, path);
}

static bool always(void *context) {
    (void)context;
    return true;
}

static affect_status unpack_with(bytes *tar, const affect_archive_limits *limits,
                                 const affect_archive_callbacks *callbacks,
                                 affect_archive_counts *counts, affect_error *failure) {
    CHECK_OK(affect_directory_remove(staging, err));
    CHECK_OK(affect_directory_make(staging, err));
    CHECK_OK(affect_file_write(archive_path, tar->data, tar->size, err));
    free(tar->data);
    *tar = (bytes){0};
    return affect_archive_unpack(counts, archive_path, staging, limits, callbacks, failure);
}

/* Unpacks the bytes (and frees them) into a fresh staging folder. */
static affect_status unpack(bytes *tar, affect_archive_counts *counts, affect_error *failure) {
    const affect_archive_callbacks callbacks = {.select = select_entry};
    return unpack_with(tar, NULL, &callbacks, counts, failure);
}

static bool unpacked(const char *name) {
    char path[AFFECT_PATH_MAX];
    CHECK_OK(affect_path_join(path, err, staging, "%s", name));
    return affect_file_exists(path);
}

#define LABELS "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
#define SOUND  "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"

static void test_honest(void) {
    bytes tar = {0};
    affect_archive_counts counts;
    affect_error failure = {0};
    add(&tar, "IEMOCAP/", '5', "", 0, 0);
    add(&tar, "./IEMOCAP/" LABELS, '0', "", 700, 700);
    add(&tar, "IEMOCAP/" SOUND, '0', "", 100, 100);
    add(&tar, "IEMOCAP/Session1/dialog/avi/DivX/Ses01F_impro01.avi", '0', "", 5000, 5000);
    add(&tar, "IEMOCAP/Session1/dialog/wav/._Ses01F_impro01.wav", '0', "", 10, 10);
    finish(&tar);
    CHECK(unpack(&tar, &counts, &failure) == AFFECT_STATUS_OK);
    CHECK(counts.n_entries == 5 && counts.n_files == 2 && counts.n_skipped == 2);
    CHECK(counts.n_bytes == 800);
    CHECK(unpacked(LABELS) && unpacked(SOUND));
    CHECK(!unpacked("Session1/dialog/avi") && !unpacked("IEMOCAP"));
}

static void check_refused(bytes *tar, affect_status want, const char *text) {
    affect_error failure = {0};
    finish(tar);
    affect_status status = unpack(tar, NULL, &failure);
    CHECK(status == want && failure.status == want);
    CHECK(strstr(failure.message, text) != NULL);
    if (!strstr(failure.message, text))
        fprintf(stderr, "    got \"%s\", want \"%s\"\n", failure.message, text);
}

static void test_names_that_climb(void) {
    static const char *const names[] = {"../" LABELS, "a/../../" LABELS, "Session1/..", ".."};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        bytes tar = {0};
        add(&tar, "fine.txt", '0', "", 3, 3);
        add(&tar, names[i], '0', "", 3, 3);
        check_refused(&tar, AFFECT_STATUS_MALFORMED, "entry 2");
    }
    bytes tar = {0};
    add(&tar, "/etc/" LABELS, '0', "", 3, 3);
    check_refused(&tar, AFFECT_STATUS_MALFORMED, "absolute");
    CHECK(!affect_file_exists("/etc/Session1"));
}

static void test_links_and_devices(void) {
    bytes tar = {0};
    add(&tar, LABELS, '2', "/etc/passwd", 0, 0);
    check_refused(&tar, AFFECT_STATUS_MALFORMED, "is a link");
    CHECK(!unpacked(LABELS));
    add(&tar, SOUND, '0', "", 3, 3);
    add(&tar, LABELS, '1', SOUND, 0, 0);
    check_refused(&tar, AFFECT_STATUS_MALFORMED, "is a link");
    add(&tar, "Session1", '2', "/tmp", 0, 0); /* a folder that is a link, then a file in it */
    add(&tar, LABELS, '0', "", 3, 3);
    check_refused(&tar, AFFECT_STATUS_MALFORMED, "is a link");
    for (const char *type = "346"; *type; type++) {
        add(&tar, LABELS, *type, "", 0, 0);
        check_refused(&tar, AFFECT_STATUS_MALFORMED, "is a device");
    }
}

static void test_twice(void) {
    bytes tar = {0};
    add(&tar, "a/" LABELS, '0', "", 3, 3);
    add(&tar, "b/" LABELS, '0', "", 3, 3);
    check_refused(&tar, AFFECT_STATUS_MALFORMED, "comes twice");
}

static void test_damage(void) {
    affect_error failure = {0};
    bytes tar = {0};
    add(&tar, LABELS, '0', "", 100000, 2000); /* announces more than there is */
    CHECK(unpack(&tar, NULL, &failure) == AFFECT_STATUS_MALFORMED);
    CHECK(strstr(failure.message, "truncated") != NULL);
    add(&tar, LABELS, '0', "", 600, 600);
    add(&tar, SOUND, '0', "", 600, 600);
    memset(tar.data + 1536, 0x5A, 512); /* the second header is noise */
    check_refused(&tar, AFFECT_STATUS_MALFORMED, "damaged");
    tar.data = strdup("These are the labels of a corpus, are they not?");
    tar.size = strlen(tar.data);
    CHECK(unpack(&tar, NULL, &failure) == AFFECT_STATUS_UNSUPPORTED);
    CHECK(strstr(failure.message, "tar.zst") != NULL);
    tar.data = calloc(1, 1); /* empty */
    CHECK(unpack(&tar, NULL, &failure) == AFFECT_STATUS_UNSUPPORTED);
    CHECK(affect_archive_check("/nowhere/at/all", &failure) == AFFECT_STATUS_NOT_FOUND);
}

static void check_limit(affect_archive_limits limits, const char *text) {
    const affect_archive_callbacks callbacks = {.select = select_entry};
    affect_error failure = {0};
    bytes tar = {0};
    add(&tar, "some/folders/deep/" LABELS, '0', "", 5000, 5000);
    add(&tar, "some/folders/deep/" SOUND, '0', "", 5000, 5000);
    finish(&tar);
    CHECK(unpack_with(&tar, &limits, &callbacks, NULL, &failure) == AFFECT_STATUS_TOO_LARGE);
    CHECK(strstr(failure.message, text) != NULL);
    if (!strstr(failure.message, text)) fprintf(stderr, "    got \"%s\"\n", failure.message);
}

static void test_limits(void) {
    affect_archive_limits limits = affect_archive_limits_default();
    limits.entries = 1;
    check_limit(limits, "over 1 entries");
    limits = affect_archive_limits_default();
    limits.file_bytes = 4999;
    check_limit(limits, "over 4999 bytes");
    limits = affect_archive_limits_default();
    limits.total_bytes = 9999;
    check_limit(limits, "more than 9999 bytes");
    limits = affect_archive_limits_default();
    limits.path_bytes = 20;
    check_limit(limits, "name over 20 bytes");
    limits = affect_archive_limits_default();
    limits.path_depth = 3;
    check_limit(limits, "over 3 folders");
}

static void test_cancel(void) {
    const affect_archive_callbacks callbacks = {.select = select_entry, .cancelled = always};
    affect_error failure = {0};
    bytes tar = {0};
    add(&tar, LABELS, '0', "", 5000, 5000);
    finish(&tar);
    CHECK(unpack_with(&tar, NULL, &callbacks, NULL, &failure) == AFFECT_STATUS_CANCELLED);
}

int main(void) {
    if (!mkdtemp(folder)) return 1;
    snprintf(archive_path, sizeof archive_path, "%s/archive", folder);
    snprintf(staging, sizeof staging, "%s/staging", folder);
    TEST_RUN(test_honest);
    TEST_RUN(test_names_that_climb);
    TEST_RUN(test_links_and_devices);
    TEST_RUN(test_twice);
    TEST_RUN(test_damage);
    TEST_RUN(test_limits);
    TEST_RUN(test_cancel);
    affect_directory_remove(folder, NULL);
    return TEST_END();
}
