/* Products of rows with packed weights; see cpu_product.h.
 *
 * The tile: up to TILE_ROWS rows by one panel (two vectors), all in registers; per k one load of
 * the panel's two vectors and one broadcast a row. (Goto and van de Geijn 2008, with one operand
 * left unpacked: it is used once a panel and lies in the second-level cache.) */
#include "engine/device/cpu/cpu_product.h"

#include "engine/device/cpu/cpu_vector.h"

#include <string.h>

enum { PANEL = 2 * AFFECT_LANES, OUTER_ROWS = 96 };

static size_t n_panels(size_t n) {
    return (n + PANEL - 1) / PANEL;
}

size_t affect_cpu_packed_size(size_t k, size_t n) {
    return n_panels(n) * PANEL * k;
}

void affect_cpu_pack(affect_cpu_packed *packed, const affect_real *b, size_t b_row,
                     bool transposed) {
    size_t k = packed->k, n = packed->n;
    for (size_t p = 0; p < n_panels(n); p++) {
        affect_real *panel = packed->numbers + p * PANEL * k;
        size_t first = p * PANEL, columns = n - first < PANEL ? n - first : PANEL;
        for (size_t i = 0; i < k; i++) {
            affect_real *row = panel + i * PANEL;
            for (size_t j = 0; j < columns; j++)
                row[j] = transposed ? b[(first + j) * b_row + i] : b[i * b_row + first + j];
            for (size_t j = columns; j < PANEL; j++) row[j] = 0;
        }
    }
}

/* ROWS is a constant wherever this is inlined, so that sums live in registers. */
AFFECT_INLINE void multiply_tile(const size_t n_rows, affect_real *const *c,
                                 const affect_real *const *init, size_t column,
                                 const affect_real *const *a, const affect_real *panel, size_t k) {
    affect_vector left[AFFECT_TILE_ROWS], right[AFFECT_TILE_ROWS];
    AFFECT_UNROLL
    for (size_t r = 0; r < n_rows; r++) {
        left[r] = init ? affect_vectors(init[r] + column)[0] : (affect_vector){0};
        right[r] = init ? affect_vectors(init[r] + column)[1] : (affect_vector){0};
    }
    const affect_real *row[AFFECT_TILE_ROWS];
    AFFECT_UNROLL
    for (size_t r = 0; r < n_rows; r++) row[r] = a[r];
    for (size_t i = 0; i < k; i++) {
        affect_vector b0 = affect_vectors(panel)[2 * i], b1 = affect_vectors(panel)[2 * i + 1];
        AFFECT_UNROLL
        for (size_t r = 0; r < n_rows; r++) {
            left[r] += row[r][i] * b0;
            right[r] += row[r][i] * b1;
        }
    }
    AFFECT_UNROLL
    for (size_t r = 0; r < n_rows; r++) {
        ((affect_vector *)(c[r] + column))[0] = left[r];
        ((affect_vector *)(c[r] + column))[1] = right[r];
    }
}

static void multiply_any(size_t rows, affect_real *const *c, const affect_real *const *init,
                         size_t column, const affect_real *const *a, const affect_real *panel,
                         size_t k) {
    switch (rows) {
#define CASE(n)                                                                                    \
    case n:                                                                                        \
        multiply_tile(n, c, init, column, a, panel, k);                                            \
        break
        CASE(1);
        CASE(2);
        CASE(3);
        CASE(4);
        CASE(5);
        CASE(6);
#if defined(__AVX512F__)
        CASE(7);
        CASE(8);
        CASE(9);
        CASE(10);
        CASE(11);
        CASE(12);
#endif
#undef CASE
    default:
        break;
    }
}

/* The last panel of a width that is no multiple of PANEL: through a buffer of full width. */
static void multiply_edge(size_t rows, affect_real *const *c, const affect_real *const *init,
                          size_t column, size_t columns, const affect_real *const *a,
                          const affect_real *panel, size_t k) {
    affect_real buffer[AFFECT_TILE_ROWS][PANEL];
    affect_real *to[AFFECT_TILE_ROWS];
    for (size_t r = 0; r < rows; r++) {
        to[r] = buffer[r];
        memset(buffer[r], 0, sizeof buffer[r]);
        if (init) memcpy(buffer[r], init[r] + column, columns * sizeof **c);
    }
    multiply_any(rows, to, (const affect_real *const *)to, 0, a, panel, k);
    for (size_t r = 0; r < rows; r++) memcpy(c[r] + column, buffer[r], columns * sizeof **c);
}

void affect_cpu_multiply_rows(affect_real *const *c, const affect_real *const *init,
                              const affect_real *const *a, size_t rows,
                              const affect_cpu_packed *b) {
    for (size_t column = 0; column < b->n; column += PANEL) {
        const affect_real *panel = b->numbers + column * b->k;
        size_t columns = b->n - column;
        for (size_t r = 0; r < rows; r += AFFECT_TILE_ROWS) {
            size_t n = rows - r < AFFECT_TILE_ROWS ? rows - r : AFFECT_TILE_ROWS;
            const affect_real *const *from = init ? init + r : NULL;
            if (columns < PANEL)
                multiply_edge(n, c + r, from, column, columns, a + r, panel, b->k);
            else if (n == AFFECT_TILE_ROWS)
                multiply_tile(AFFECT_TILE_ROWS, c + r, from, column, a + r, panel, b->k);
            else
                multiply_any(n, c + r, from, column, a + r, panel, b->k);
        }
    }
}

/* ---- Outer products ---- */

/* b: (rows, PANEL), packed. */
AFFECT_INLINE void outer_tile(const size_t height, affect_real *c, size_t c_row,
                              const affect_real *const *a, size_t first, const affect_real *b,
                              size_t rows) {
    affect_vector left[AFFECT_TILE_ROWS], right[AFFECT_TILE_ROWS];
    AFFECT_UNROLL
    for (size_t i = 0; i < height; i++) {
        left[i] = affect_vectors(c + i * c_row)[0];
        right[i] = affect_vectors(c + i * c_row)[1];
    }
    for (size_t r = 0; r < rows; r++) {
        const affect_real *x = a[r] + first;
        affect_vector b0 = affect_vectors(b)[2 * r], b1 = affect_vectors(b)[2 * r + 1];
        AFFECT_UNROLL
        for (size_t i = 0; i < height; i++) {
            left[i] += x[i] * b0;
            right[i] += x[i] * b1;
        }
    }
    AFFECT_UNROLL
    for (size_t i = 0; i < height; i++) {
        ((affect_vector *)(c + i * c_row))[0] = left[i];
        ((affect_vector *)(c + i * c_row))[1] = right[i];
    }
}

static void outer_edge(affect_real *c, size_t c_row, const affect_real *const *a, size_t first,
                       size_t height, const affect_real *b, size_t columns, size_t rows) {
    for (size_t i = 0; i < height; i++)
        for (size_t r = 0; r < rows; r++)
            for (size_t j = 0; j < columns; j++)
                c[i * c_row + j] += a[r][first + i] * b[r * PANEL + j];
}

/* One panel of columns: rows of b lie far apart, often at distances that share cache sets, and are
 * read once a tile; they are packed first. */
static void outer_panel(affect_real *c, size_t c_row, const affect_real *const *a,
                        const affect_real *const *b, size_t rows, size_t k, size_t column,
                        size_t columns) {
    _Alignas(64) affect_real packed[OUTER_ROWS * PANEL];
    for (size_t r = 0; r < rows; r++)
        memcpy(packed + r * PANEL, b[r] + column, columns * sizeof *packed);
    for (size_t i = 0; i < k; i += AFFECT_TILE_ROWS) {
        size_t height = k - i < AFFECT_TILE_ROWS ? k - i : AFFECT_TILE_ROWS;
        affect_real *to = c + i * c_row + column;
        if (columns == PANEL && height == AFFECT_TILE_ROWS)
            outer_tile(AFFECT_TILE_ROWS, to, c_row, a, i, packed, rows);
        else if (columns == PANEL && height % 4 == 0)
            for (size_t j = 0; j < height; j += 4)
                outer_tile(4, to + j * c_row, c_row, a, i + j, packed, rows);
        else
            outer_edge(to, c_row, a, i, height, packed, columns, rows);
    }
}

void affect_cpu_add_outer(affect_real *c, size_t c_row, const affect_real *const *a,
                          const affect_real *const *b, size_t rows, size_t k, size_t n) {
    for (size_t r = 0; r < rows; r += OUTER_ROWS) {
        size_t count = rows - r < OUTER_ROWS ? rows - r : OUTER_ROWS;
        for (size_t column = 0; column < n; column += PANEL)
            outer_panel(c, c_row, a + r, b + r, count, k, column,
                        n - column < PANEL ? n - column : PANEL);
    }
}

/* ---- Combinations of rows ---- */

AFFECT_INLINE void combine_tile(const size_t n_vectors, affect_real *to, const affect_real *base,
                                const affect_cpu_term *terms, size_t n_terms) {
    affect_vector sum[AFFECT_TILE_VECTORS];
    AFFECT_UNROLL
    for (size_t v = 0; v < n_vectors; v++) sum[v] = affect_vectors(to)[v];
    for (size_t t = 0; t < n_terms; t++) {
        const affect_vector *from = affect_vectors(base + terms[t].offset);
        AFFECT_OPAQUE(from);
        AFFECT_UNROLL
        for (size_t v = 0; v < n_vectors; v++) sum[v] += terms[t].value * from[v];
    }
    AFFECT_UNROLL
    for (size_t v = 0; v < n_vectors; v++) ((affect_vector *)to)[v] = sum[v];
}

void affect_cpu_combine(affect_real *to, const affect_real *base, const affect_cpu_term *terms,
                        size_t n_terms, size_t n) {
    size_t i = 0;
#define TILES(count)                                                                               \
    for (; i + (count)*AFFECT_LANES <= n; i += (count)*AFFECT_LANES)                               \
        combine_tile(count, to + i, base + i, terms, n_terms);
    TILES(AFFECT_TILE_VECTORS)
    TILES(AFFECT_TILE_VECTORS / 2)
    TILES(4)
    TILES(1)
#undef TILES
    for (; i < n; i++) {
        affect_real sum = to[i];
        for (size_t t = 0; t < n_terms; t++) sum += terms[t].value * base[terms[t].offset + i];
        to[i] = sum;
    }
}
