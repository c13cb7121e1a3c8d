/* Motion capture text; see mocap_text.h.
 *
 * Whole lines are parsed where they lie in the caller's bytes; only a line cut by the end of a
 * piece is copied into `carry`. Every line ends in a newline that can be read (at the end of the
 * input one is added), so number loops need no test for the end. */
#include "engine/modality/mocap_text.h"

#include "engine/core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __SSE2__
#include <immintrin.h>
#endif

#define BLOCK_SIZE 262144

static const struct {
    const char *name;
    size_t n_columns;
} kinds[AFFECT_MOCAP_KIND_COUNT] = {
    [AFFECT_MOCAP_FACE] = {"face", 165},
    [AFFECT_MOCAP_HEAD] = {"head", 6},
    [AFFECT_MOCAP_HAND] = {"hand", 18},
};

const char *affect_mocap_kind_name(affect_mocap_kind kind) {
    return kinds[kind].name;
}

size_t affect_mocap_n_columns(affect_mocap_kind kind) {
    return kinds[kind].n_columns;
}

/* ---- Numbers ---- */

static const double powers_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                       1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                       1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
#define EXACT_POWER   22 /* the largest power of ten that a double holds exactly */
#define EXACT_INTEGER (UINT64_C(1) << 53)

/* digits 10^exponent. Two exact operands and one rounding where both fit a double (Clinger's fast
 * path), else long double, whose own errors are far below a double's last bit on x86 and ARM. */
static double scale_decimal(uint64_t digits, long exponent) {
    if (digits <= EXACT_INTEGER && exponent >= -EXACT_POWER && exponent <= EXACT_POWER)
        return exponent < 0 ? (double)digits / powers_of_ten[-exponent]
                            : (double)digits * powers_of_ten[exponent];
    if (digits == 0 || exponent < -400) return 0;
    if (exponent > 400) return INFINITY;
    long double value = (long double)digits, power = 1, square = 10;
    for (long left = labs(exponent); left > 0; left >>= 1, square *= square)
        if (left & 1) power *= square;
    return (double)(exponent < 0 ? value / power : value * power);
}

static inline unsigned digit_of(char c) {
    return (unsigned)(unsigned char)c - '0';
}

/* More than 19 digits: keeps the first 19 that count, and the exponent of what is dropped. */
static uint64_t long_digits(const char *from, const char *to, long *exponent) {
    uint64_t digits = 0;
    int n_kept = 0;
    bool fraction = false;
    *exponent = 0;
    for (const char *p = from; p < to; p++) {
        if (*p == '.') {
            fraction = true;
            continue;
        }
        if (n_kept < 19) {
            digits = digits * 10 + digit_of(*p);
            if (digits > 0) n_kept++;
            if (fraction) --*exponent;
        } else if (!fraction) {
            ++*exponent;
        }
    }
    return digits;
}

/* An exponent's digits after e or E; false when there are none. */
static bool read_exponent(long *exponent, const char **cursor) {
    const char *p = *cursor;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+') p++;
    long value = 0;
    const char *first = p;
    for (; digit_of(*p) < 10; p++)
        if (value < 1000000) value = value * 10 + (long)digit_of(*p);
    if (p == first) return false;
    *exponent += negative ? -value : value;
    *cursor = p;
    return true;
}

/* The word at p, in any case, if it does not reach past end. */
static bool starts_with(const char *p, const char *end, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(end - p) < n) return false;
    for (size_t i = 0; i < n; i++)
        if ((p[i] | 0x20) != word[i]) return false;
    return true;
}

static bool read_special(double *value, const char **cursor, const char *end, bool negative) {
    static const struct {
        const char *word;
        double value;
    } words[] = {{"nan", NAN}, {"infinity", INFINITY}, {"inf", INFINITY}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!starts_with(*cursor, end, words[i].word)) continue;
        *cursor += strlen(words[i].word);
        *value = negative ? -words[i].value : words[i].value;
        return true;
    }
    return false;
}

static inline bool read_number(double *value, const char **cursor, const char *end) {
    const char *p = *cursor;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+') p++;
    const char *first = p;
    uint64_t digits = 0;
    unsigned d;
    for (; (d = digit_of(*p)) < 10; p++) digits = digits * 10 + d;
    long n_digits = p - first, exponent = 0;
    if (*p == '.') {
        const char *fraction = ++p;
        for (; (d = digit_of(*p)) < 10; p++) digits = digits * 10 + d;
        exponent = fraction - p;
        n_digits -= exponent;
    }
    if (n_digits == 0) {
        *cursor = first;
        return read_special(value, cursor, end, negative);
    }
    if (n_digits > 19) digits = long_digits(first, p, &exponent);
    if ((*p | 0x20) == 'e') {
        p++;
        if (!read_exponent(&exponent, &p)) return false;
    }
    double magnitude = scale_decimal(digits, exponent);
    *value = negative ? -magnitude : magnitude;
    *cursor = p;
    return true;
}

/* Nearly every number of a motion file: up to three digits, a point, five digits, a blank. Finds
 * the token's end among 16 bytes, gathers its eight digits in one word, and turns them into a
 * number by three multiplications (Lemire 2021, "Number parsing at a gigabyte per second"); one
 * division of exact operands rounds correctly. False, and the cursor stays, when the token looks
 * otherwise. Reads 2 bytes before *cursor and 16 from it. */
#if defined(__SSE2__)
static inline bool read_usual(double *value, const char **cursor) {
    const char *first = *cursor;
    __m128i text = _mm_loadu_si128((const __m128i *)first);
    unsigned blanks = (unsigned)_mm_movemask_epi8(_mm_cmplt_epi8(text, _mm_set1_epi8('!')));
    unsigned length = (unsigned)__builtin_ctz(blanks | 0x10000), negative = *first == '-';
    unsigned n_whole = length - 6 - negative;
    const char *end = first + length;
    if (n_whole - 1 > 2 || end[-6] != '.') return false;
    uint64_t before, after;
    memcpy(&before, end - 9, sizeof before); /* up to three digits, the point, ... */
    memcpy(&after, end - 8, sizeof after);   /* ..., five digits */
    uint64_t digits = (before & 0xffffff) | (after & ~UINT64_C(0xffffff));
    digits = (digits ^ UINT64_C(0x3030303030303030)) & (~UINT64_C(0) << 8 * (3 - n_whole));
    if (((digits + UINT64_C(0x7676767676767676)) | digits) & UINT64_C(0x8080808080808080))
        return false;
    digits = digits * 10 + (digits >> 8); /* pairs, in every other byte */
    uint64_t high = (digits & UINT64_C(0x000000ff000000ff)) * (100 + (UINT64_C(1000000) << 32));
    uint64_t low = (digits >> 16 & UINT64_C(0x000000ff000000ff)) * (1 + (UINT64_C(10000) << 32));
    static const double divisors[] = {1e5, -1e5}; /* no branch: signs cannot be predicted */
    *value = (double)(uint32_t)((high + low) >> 32) / divisors[negative];
    *cursor = end;
    return true;
}
#else
static inline bool read_usual(double *value, const char **cursor) {
    (void)value, (void)cursor;
    return false;
}
#endif

bool affect_mocap_number(double *value, const char **cursor, const char *end) {
    return read_number(value, cursor, end);
}

/* ---- Lines ---- */

struct affect_mocap_reader {
    affect_mocap_kind kind;
    affect_mocap_callbacks callbacks;
    affect_mocap_counts counts;
    bool in_data;         /* a line that starts with an integer has been seen */
    bool is_other;        /* lines before it are no header: too many, or not text */
    size_t n_header;      /* lines before it, blank ones apart */
    bool skipping;        /* inside a line that is too long */
    size_t n_other_width; /* rows with another number of values, */
    size_t other_width;   /* and that number, of the first such row */
    size_t first_line;    /* of the first rejected row */
    char first_reason[112];
    size_t carry_size;
    const char *readable_end; /* of the bytes that the current line lies in */
    double values[AFFECT_MOCAP_MAX_COLUMNS];
    char carry[AFFECT_MOCAP_MAX_LINE + 1];
};

affect_status affect_mocap_reader_create(affect_mocap_reader **reader, affect_mocap_kind kind,
                                         const affect_mocap_callbacks *callbacks,
                                         affect_error *err) {
    affect_mocap_reader *made = malloc(sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "mocap: no memory for a reader");
    affect_mocap_reader_begin(made, kind, callbacks);
    *reader = made;
    return AFFECT_STATUS_OK;
}

void affect_mocap_reader_begin(affect_mocap_reader *reader, affect_mocap_kind kind,
                               const affect_mocap_callbacks *callbacks) {
    memset(reader, 0, offsetof(affect_mocap_reader, values));
    reader->kind = kind;
    reader->callbacks = *callbacks;
}

void affect_mocap_reader_free(affect_mocap_reader *reader) {
    free(reader);
}

affect_mocap_counts affect_mocap_reader_counts(const affect_mocap_reader *reader) {
    return reader->counts;
}

static void reject(affect_mocap_reader *reader, const char *reason) {
    if (reader->counts.n_rejected++ == 0) {
        reader->first_line = reader->counts.n_lines;
        snprintf(reader->first_reason, sizeof reader->first_reason, "%s", reason);
    }
    if (reader->callbacks.rejected)
        reader->callbacks.rejected(reader->callbacks.context, reader->counts.n_lines, reason);
}

static inline bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

static inline const char *skip_blanks(const char *p) {
    while (is_blank(*p)) p++;
    return p;
}

static size_t count_tokens(const char *p, const char *end) {
    size_t n = 0;
    for (p = skip_blanks(p); p < end; p = skip_blanks(p), n++)
        while (p < end && !is_blank(*p)) p++;
    return n;
}

/* Moves past the frame number; false when the first token is no integer. */
static bool skip_frame_number(const char **cursor, const char *end) {
    const char *p = *cursor;
    if (*p == '-' || *p == '+') p++;
    const char *first = p;
    while (digit_of(*p) < 10) p++;
    if (p == first || !(p >= end || is_blank(*p))) return false;
    *cursor = p;
    return true;
}

static void reject_width(affect_mocap_reader *reader, size_t n_values) {
    char reason[96];
    snprintf(reason, sizeof reason, "%zu values (%s needs %zu after frame and time)", n_values,
             kinds[reader->kind].name, kinds[reader->kind].n_columns);
    if (reader->n_other_width++ == 0) reader->other_width = n_values;
    reject(reader, reason);
}

/* Names the token at p, printable bytes only. */
static void reject_token(affect_mocap_reader *reader, const char *what, size_t index, const char *p,
                         const char *end) {
    char shown[25], reason[112];
    size_t n = 0;
    for (; p < end && !is_blank(*p) && n < sizeof shown - 1; p++)
        shown[n++] = *p >= 32 && *p < 127 && *p != '"' ? *p : '?';
    shown[n] = 0;
    snprintf(reason, sizeof reason, "%s %zu is not a number: \"%s\"", what, index, shown);
    reject(reader, reason);
}

/* The values of a row after its time. True when `values` is filled, false when rejected. */
static bool read_values(affect_mocap_reader *reader, const char *p, const char *end) {
    size_t n_columns = kinds[reader->kind].n_columns;
    const char *first = p;
    for (size_t i = 0; i < n_columns; i++) {
        p = skip_blanks(p);
        const char *token = p;
        if (reader->readable_end - p >= 16 && read_usual(&reader->values[i], &p)) {
            if (is_blank(*p) || p == end) continue;
            p = token;
        }
        bool valid =
            p < end && read_number(&reader->values[i], &p, end) && (p >= end || is_blank(*p));
        if (valid) continue;
        size_t n_values = count_tokens(first, end);
        if (n_values != n_columns)
            reject_width(reader, n_values);
        else
            reject_token(reader, "value", i + 1, token, end);
        return false;
    }
    if (skip_blanks(p) >= end) return true;
    reject_width(reader, count_tokens(first, end));
    return false;
}

static bool is_text(const char *p, const char *end) {
    while (p < end && ((unsigned char)*p >= ' ' || is_blank(*p))) p++;
    return p >= end;
}

/* One line [p, end), end pointing at its newline. */
static affect_status take_line(affect_mocap_reader *reader, const char *p, const char *end,
                               affect_error *err) {
    reader->counts.n_lines++;
    p = skip_blanks(p);
    if (p >= end) return AFFECT_STATUS_OK;
    if (!skip_frame_number(&p, end)) {
        if (reader->in_data)
            reject(reader, "does not start with a frame number");
        else if (++reader->n_header > AFFECT_MOCAP_MAX_HEADER || !is_text(p, end))
            reader->is_other = true;
        return AFFECT_STATUS_OK;
    }
    reader->in_data = true;
    p = skip_blanks(p);
    const char *token = p;
    double time_s = NAN;
    if (p >= end) {
        reject(reader, "a frame number and nothing else");
        return AFFECT_STATUS_OK;
    }
    if (!read_number(&time_s, &p, end) || !(p >= end || is_blank(*p))) {
        reject_token(reader, "time of token", 2, token, end);
        return AFFECT_STATUS_OK;
    }
    if (!isfinite(time_s)) {
        reject(reader, "its time is not a finite number");
        return AFFECT_STATUS_OK;
    }
    if (!read_values(reader, p, end)) return AFFECT_STATUS_OK;
    reader->counts.n_rows++;
    return reader->callbacks.row(reader->callbacks.context, time_s, reader->values, err);
}

static void reject_long_line(affect_mocap_reader *reader) {
    char reason[64];
    snprintf(reason, sizeof reason, "line longer than %d bytes", AFFECT_MOCAP_MAX_LINE);
    reader->counts.n_lines++;
    reject(reader, reason);
}

/* Keeps the start of a line that the next piece continues. */
static void keep(affect_mocap_reader *reader, const char *p, size_t size) {
    if (reader->skipping) return;
    if (reader->carry_size + size > AFFECT_MOCAP_MAX_LINE) {
        reader->skipping = true;
        reader->carry_size = 0;
        return;
    }
    memcpy(reader->carry + reader->carry_size, p, size);
    reader->carry_size += size;
}

/* Ends a line whose last bytes [p, p + size) follow what was kept. */
static affect_status end_kept_line(affect_mocap_reader *reader, const char *p, size_t size,
                                   affect_error *err) {
    keep(reader, p, size);
    bool too_long = reader->skipping;
    size_t kept = reader->carry_size;
    reader->skipping = false;
    reader->carry_size = 0;
    if (too_long) {
        reject_long_line(reader);
        return AFFECT_STATUS_OK;
    }
    reader->carry[kept] = '\n';
    reader->readable_end = reader->carry + sizeof reader->carry;
    return take_line(reader, reader->carry, reader->carry + kept, err);
}

affect_status affect_mocap_reader_feed(affect_mocap_reader *reader, const void *bytes, size_t size,
                                       affect_error *err) {
    const char *p = bytes, *end = p + size;
    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        if (!newline) {
            keep(reader, p, (size_t)(end - p));
            break;
        }
        size_t length = (size_t)(newline - p);
        if (reader->carry_size > 0 || reader->skipping || length > AFFECT_MOCAP_MAX_LINE)
            AFFECT_TRY(end_kept_line(reader, p, length, err));
        else {
            reader->readable_end = end;
            AFFECT_TRY(take_line(reader, p, newline, err));
        }
        p = newline + 1;
    }
    return AFFECT_STATUS_OK;
}

affect_status affect_mocap_reader_finish(affect_mocap_reader *reader, affect_error *err) {
    if (reader->carry_size > 0 || reader->skipping) AFFECT_TRY(end_kept_line(reader, "", 0, err));
    if (reader->counts.n_rows > 0) return AFFECT_STATUS_OK;
    const char *name = kinds[reader->kind].name;
    size_t n_columns = kinds[reader->kind].n_columns, n_rejected = reader->counts.n_rejected;
    if (n_rejected > 0 && reader->n_other_width == n_rejected)
        return affect_fail(err, MALFORMED,
                           "mocap %s: rows have %zu values (need %zu after frame and time)", name,
                           reader->other_width, n_columns);
    reader->counts.is_empty = n_rejected == 0 && !reader->is_other;
    if (n_rejected > 0)
        return affect_fail(err, MALFORMED,
                           "mocap %s: none of %zu rows could be read (line %zu: %s)", name,
                           n_rejected, reader->first_line, reader->first_reason);
    return affect_fail(err, MALFORMED,
                       "mocap %s: no rows in %zu lines (a row is: frame time and %zu values)", name,
                       reader->counts.n_lines, n_columns);
}

/* ---- Sources ---- */

static affect_status report_progress(const affect_mocap_reader *reader, size_t n,
                                     affect_error *err) {
    const affect_mocap_callbacks *callbacks = &reader->callbacks;
    if (callbacks->progress && !callbacks->progress(callbacks->context, n))
        return affect_fail(err, CANCELLED, "stopped while reading motion");
    return AFFECT_STATUS_OK;
}

static affect_status read_memory(affect_mocap_reader *reader, affect_source source,
                                 affect_error *err) {
    const char *p = source.data;
    for (size_t done = 0, n; done < source.size; done += n) {
        n = source.size - done < BLOCK_SIZE ? source.size - done : BLOCK_SIZE;
        AFFECT_TRY(affect_mocap_reader_feed(reader, p + done, n, err));
        AFFECT_TRY(report_progress(reader, n, err));
    }
    return affect_mocap_reader_finish(reader, err);
}

static affect_status read_descriptor(affect_mocap_reader *reader, int fd, const char *path,
                                     affect_error *err) {
    char *block = malloc(BLOCK_SIZE);
    if (!block) return affect_fail(err, NO_MEMORY, "mocap: no memory for a block");
    affect_status status = AFFECT_STATUS_OK;
    while (status == AFFECT_STATUS_OK) {
        ssize_t n = read(fd, block, BLOCK_SIZE);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) status = affect_error_errno(err, errno, "%s", path);
        if (n <= 0) break;
        status = affect_mocap_reader_feed(reader, block, (size_t)n, err);
        if (status == AFFECT_STATUS_OK) status = report_progress(reader, (size_t)n, err);
    }
    free(block);
    return status == AFFECT_STATUS_OK ? affect_mocap_reader_finish(reader, err) : status;
}

static affect_status read_file(affect_mocap_reader *reader, const char *path, affect_error *err) {
    int fd = -1;
    AFFECT_TRY(affect_file_open(&fd, NULL, path, err));
    affect_status status = read_descriptor(reader, fd, path, err);
    close(fd);
    return status;
}

affect_status affect_mocap_read(affect_mocap_counts *counts, affect_source source,
                                affect_mocap_kind kind, const affect_mocap_callbacks *callbacks,
                                affect_error *err) {
    affect_mocap_reader *reader = NULL;
    AFFECT_TRY(affect_mocap_reader_create(&reader, kind, callbacks, err));
    affect_status status = affect_mocap_reader_read(reader, source, err);
    if (counts) *counts = reader->counts;
    affect_mocap_reader_free(reader);
    return status;
}

affect_status affect_mocap_reader_read(affect_mocap_reader *reader, affect_source source,
                                       affect_error *err) {
    return source.path ? read_file(reader, source.path, err) : read_memory(reader, source, err);
}
