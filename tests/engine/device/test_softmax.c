/* masked_softmax of every device against the definition: rows of odd widths, masked columns, rows
 * of masked columns alone, numbers whose exponentials overflow; in place; what lies around. */
#include "tests/engine/device/every_device.h"

enum { BATCH = 4, ROWS = 3, MOST = 70, ROOM = BATCH * ROWS * MOST };

static const size_t lengths[][BATCH] = {{1, 0, 1, 1}, {5, 2, 0, 3}, {70, 33, 1, 64}};
static const size_t columns[] = {1, 5, 70};

static float x[ROOM], d_y[ROOM], y[ROOM], got[ROOM];

/* Of one row: `length` columns count. */
static void check_row(const float *from, const float *to, size_t n, size_t length) {
    double sum = 0, largest = -INFINITY;
    for (size_t c = 0; c < length; c++) largest = fmax(largest, (double)from[c]);
    for (size_t c = 0; c < length; c++) sum += exp((double)from[c] - largest);
    for (size_t c = 0; c < n; c++) {
        double want = c < length ? exp((double)from[c] - largest) / sum : 0;
        CHECK_NEAR(to[c], want, 1e-6);
    }
}

static void check_gradient_row(const float *d, const float *a, const float *to, size_t n) {
    double sum = 0;
    for (size_t c = 0; c < n; c++) sum += (double)d[c] * (double)a[c];
    for (size_t c = 0; c < n; c++) CHECK_NEAR(to[c], (double)a[c] * ((double)d[c] - sum), 1e-6);
}

static void check_shape(affect_backend *backend, const affect_softmax_shape *s, bool in_place) {
    size_t n = s->batch * s->rows * s->columns;
    for (size_t i = 0; i < n; i++) got[i] = NAN;
    float *on_x = guarded(backend, x, n), *on_d = guarded(backend, d_y, n);
    float *on_y = in_place ? on_x : guarded(backend, got, n);
    float *on_d_x = in_place ? on_d : guarded(backend, got, n);
    backend->ops->masked_softmax_forward(backend, on_y, on_x, s);
    backend->ops->masked_softmax_backward(backend, on_d_x, on_d, on_y, s);
    read_guarded(y, backend, on_y, n);
    read_guarded(got, backend, on_d_x, n);
    for (size_t r = 0; r < s->batch * s->rows; r++) {
        size_t at = r * s->columns, length = s->lengths ? s->lengths[r / s->rows] : s->columns;
        check_row(x + at, y + at, s->columns, length);
        check_gradient_row(d_y + at, y + at, got + at, s->columns);
    }
    free_guarded(backend, on_x);
    free_guarded(backend, on_d);
    if (in_place) return;
    free_guarded(backend, on_y);
    free_guarded(backend, on_d_x);
}

static void test_rows(affect_backend *backend) {
    for (size_t i = 0; i < ROOM; i++) {
        x[i] = (float)(50 * affect_random_normal((affect_random_key){5, 1}, i));
        d_y[i] = (float)affect_random_normal((affect_random_key){5, 2}, i);
    }
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        for (int masked = 0; masked < 2; masked++)
            for (int in_place = 0; in_place < 2; in_place++)
                check_shape(
                    backend,
                    &(affect_softmax_shape){BATCH, ROWS, columns[i], masked ? lengths[i] : NULL},
                    in_place);
}

int main(void) {
    on_every_device(test_rows);
    return TEST_END();
}
