/* read_ids, gather and scatter_add of every device against the definition: ids that repeat, that
 * are outside the table, odd widths, nothing at all; what lies around buffers; and the same bits on
 * the CPU and the emulated GPU, whatever the number of threads, for both add in the order of the
 * ids. */
#include "tests/engine/device/every_device.h"

enum { MOST_IDS = 600, MOST_ROWS = 50, MOST_COLUMNS = 200 };

static float table[MOST_ROWS * MOST_COLUMNS], d_y[MOST_IDS * MOST_COLUMNS];
static float want[MOST_IDS * MOST_COLUMNS], got[MOST_IDS * MOST_COLUMNS];
static int32_t ids[MOST_IDS];

static const affect_gather_shape shapes[] = {{7, 5, 3},    {600, 50, 33}, {300, 2, 1},
                                             {40, 9, 200}, {1, 1, 1},     {0, 5, 3}};

/* Every third id is row 1; one is below the table, one above. */
static void fill(const affect_gather_shape *s) {
    affect_random_key key = {5, 1};
    for (size_t i = 0; i < s->rows * s->columns; i++)
        table[i] = (float)affect_random_normal(key, i);
    for (size_t i = 0; i < s->n * s->columns; i++)
        d_y[i] = (float)affect_random_normal(key, 100000 + i);
    for (size_t i = 0; i < s->n; i++)
        ids[i] = i % 3 ? (int32_t)(affect_random_uniform(key, 200000 + i) * (double)s->rows)
                       : (int32_t)(s->rows > 1);
    if (s->n > 4) ids[2] = -1, ids[4] = (int32_t)s->rows;
}

static bool is_row(const affect_gather_shape *s, size_t i) {
    return ids[i] >= 0 && (size_t)ids[i] < s->rows;
}

static void check_gather(affect_backend *backend, const affect_gather_shape *s,
                         const int32_t *on_ids) {
    size_t n = s->n * s->columns;
    for (size_t i = 0; i < n; i++) got[i] = NAN;
    for (size_t i = 0; i < n; i++)
        want[i] = is_row(s, i / s->columns)
                      ? table[(size_t)ids[i / s->columns] * s->columns + i % s->columns]
                      : 0;
    float *on_table = guarded(backend, table, s->rows * s->columns), *y = guarded(backend, got, n);
    backend->ops->gather(backend, y, on_table, on_ids, s);
    read_guarded(got, backend, y, n);
    CHECK(memcmp(got, want, n * sizeof *got) == 0);
    free_guarded(backend, on_table);
    free_guarded(backend, y);
}

static void check_scatter_add(affect_backend *backend, const affect_gather_shape *s,
                              const int32_t *on_ids) {
    size_t n = s->rows * s->columns;
    memcpy(want, table, n * sizeof *want);
    for (size_t i = 0; i < s->n; i++)
        for (size_t c = 0; is_row(s, i) && c < s->columns; c++)
            want[(size_t)ids[i] * s->columns + c] += d_y[i * s->columns + c];
    float *on_table = guarded(backend, table, n), *on_d = guarded(backend, d_y, s->n * s->columns);
    backend->ops->scatter_add(backend, on_table, on_d, on_ids, s);
    read_guarded(got, backend, on_table, n);
    CHECK(memcmp(got, want, n * sizeof *got) == 0);
    free_guarded(backend, on_table);
    free_guarded(backend, on_d);
}

static void test_rows(affect_backend *backend) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const affect_gather_shape *s = &shapes[i];
        fill(s);
        int32_t *on_ids = backend->ops->allocate(backend, sizeof ids);
        backend->ops->upload(backend, on_ids, ids, sizeof ids);
        check_gather(backend, s, on_ids);
        check_scatter_add(backend, s, on_ids);
        backend->ops->deallocate(backend, on_ids);
    }
}

/* Whole numbers pass, everything else is -1. */
static void test_ids(affect_backend *backend) {
    static const float x[] = {0,    3,     16777216, 2147483520.0f, 2147483648.0f, -1,
                              0.5f, 1e-9f, 1e30f,    -INFINITY,     NAN,           -0.0f};
    static const int32_t want_ids[] = {0, 3, 16777216, 2147483520, -1, -1, -1, -1, -1, -1, -1, 0};
    enum { N = sizeof x / sizeof *x };
    int32_t got_ids[N + 2];
    memset(got_ids, 7, sizeof got_ids);
    int32_t *on_ids = backend->ops->allocate(backend, sizeof got_ids);
    float *on_x = guarded(backend, x, N);
    backend->ops->upload(backend, on_ids, got_ids, sizeof got_ids);
    backend->ops->read_ids(backend, on_ids + 1, on_x, N);
    backend->ops->read_ids(backend, NULL, NULL, 0);
    backend->ops->download(backend, got_ids, on_ids, sizeof got_ids);
    CHECK_OK(affect_backend_synchronize(backend, err));
    CHECK(memcmp(got_ids + 1, want_ids, sizeof want_ids) == 0);
    CHECK(got_ids[0] == 0x07070707 && got_ids[N + 1] == 0x07070707);
    free_guarded(backend, on_x);
    backend->ops->deallocate(backend, on_ids);
}

int main(void) {
    on_every_device(test_ids);
    on_every_device(test_rows);
    return TEST_END();
}
