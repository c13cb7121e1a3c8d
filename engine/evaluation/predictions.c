/* Predictions as files; see predictions.h. Written row by row, so that a corpus of any size needs
 * the memory of one; read whole, since two are compared by utterance. */
#include "engine/evaluation/predictions.h"

#include "engine/core/csv.h"
#include "engine/core/file.h"

#include <stdlib.h>
#include <string.h>

static const char *const columns[] = {"utterance", "speaker", "dialog", "label", "predicted"};
enum { N_COLUMNS = sizeof columns / sizeof *columns };

const affect_utterance *affect_predictions_utterance(const affect_predictions *p, size_t i) {
    return affect_dataset_utterance(p->dataset, p->indices[i]);
}

int affect_predictions_label(const affect_predictions *p, size_t i) {
    int label = affect_predictions_utterance(p, i)->label;
    return p->class_map ? p->class_map[label] : label;
}

int affect_predictions_class(const affect_predictions *p, size_t i) {
    const float *row = p->probabilities + i * p->n_classes;
    size_t best = 0;
    for (size_t c = 1; c < p->n_classes; c++)
        if (row[c] > row[best]) best = c;
    return (int)best;
}

/* ---- Writing ---- */

/* The texts of an utterance's columns, NULL where not known. */
static void describe(const char *texts[N_COLUMNS], const affect_predictions *p, size_t i) {
    const affect_utterance *utterance = affect_predictions_utterance(p, i);
    texts[0] = utterance->id;
    texts[1] = utterance->speaker;
    texts[2] = utterance->dialog;
    texts[3] = p->classes[affect_predictions_label(p, i)];
    texts[4] = p->classes[affect_predictions_class(p, i)];
}

static void print_line(affect_buffer *line, const affect_predictions *p, size_t i) {
    const char *texts[N_COLUMNS];
    affect_json *row = affect_json_new_object(), *all = affect_json_new_object();
    describe(texts, p, i);
    for (size_t c = 0; c < p->n_classes; c++)
        affect_json_set_number(all, p->classes[c], p->probabilities[i * p->n_classes + c]);
    for (int k = 0; k < N_COLUMNS; k++) affect_json_set_string(row, columns[k], texts[k]);
    affect_json_set(row, "probabilities", all);
    affect_json_print(line, row);
    affect_buffer_append(line, "\n", 1);
    affect_json_free(row);
}

static void print_header(affect_buffer *line, const affect_predictions *p) {
    for (int k = 0; k < N_COLUMNS; k++)
        affect_buffer_printf(line, "%s%s", k ? "," : "", columns[k]);
    for (size_t c = 0; c < p->n_classes; c++) {
        affect_buffer_append(line, ",", 1);
        affect_buffer_append_csv(line, p->classes[c]);
    }
    affect_buffer_append(line, "\n", 1);
}

/* Nine digits tell any float from its neighbours. */
static void print_cells(affect_buffer *line, const affect_predictions *p, size_t i) {
    const char *texts[N_COLUMNS];
    describe(texts, p, i);
    if (i == 0) print_header(line, p);
    for (int k = 0; k < N_COLUMNS; k++) {
        if (k) affect_buffer_append(line, ",", 1);
        affect_buffer_append_csv(line, texts[k] ? texts[k] : "");
    }
    for (size_t c = 0; c < p->n_classes; c++)
        affect_buffer_printf(line, ",%.9g", (double)p->probabilities[i * p->n_classes + c]);
    affect_buffer_append(line, "\n", 1);
}

static affect_status write_rows(const affect_predictions *p, const char *folder, const char *name,
                                void (*print)(affect_buffer *, const affect_predictions *, size_t),
                                affect_error *err) {
    char path[AFFECT_PATH_MAX];
    affect_file_writer *writer = NULL;
    affect_buffer line = {0};
    AFFECT_TRY(affect_path_join(path, err, folder, "%s", name));
    AFFECT_TRY(affect_file_writer_open(&writer, path, err));
    for (size_t i = 0; i < p->n && !line.failed; i++) {
        affect_buffer_clear(&line);
        print(&line, p, i);
        affect_file_writer_append(writer, line.data, line.size);
    }
    affect_status status = line.failed ? affect_fail(err, NO_MEMORY, "no memory for predictions")
                                       : affect_file_writer_commit(writer, err);
    affect_file_writer_free(writer);
    affect_buffer_free(&line);
    return status;
}

affect_status affect_predictions_write(const affect_predictions *p, const char *folder,
                                       affect_error *err) {
    AFFECT_TRY(affect_directory_make(folder, err));
    AFFECT_TRY(write_rows(p, folder, AFFECT_PREDICTIONS_FILE, print_line, err));
    return write_rows(p, folder, AFFECT_PREDICTIONS_TABLE, print_cells, err);
}

/* ---- Reading ---- */

void affect_prediction_table_free(affect_prediction_table *table) {
    for (size_t i = 0; i < table->n; i++) {
        free(table->rows[i].utterance);
        free(table->rows[i].speaker);
        free(table->rows[i].dialog);
    }
    for (size_t c = 0; c < table->n_classes; c++) free(table->classes[c]);
    free(table->rows);
    *table = (affect_prediction_table){0};
}

static int find_class(const affect_prediction_table *table, const char *name) {
    for (size_t c = 0; c < table->n_classes; c++)
        if (strcmp(table->classes[c], name) == 0) return (int)c;
    return -1;
}

static affect_status read_header(affect_prediction_table *table, const affect_csv *csv,
                                 const char *path, affect_error *err) {
    bool same = csv->n > N_COLUMNS && csv->n <= N_COLUMNS + AFFECT_MAX_CLASSES;
    for (size_t k = 0; same && k < N_COLUMNS; k++) same = strcmp(csv->cells[k], columns[k]) == 0;
    if (!same)
        return affect_fail(err, MALFORMED,
                           "%s: not a table of predictions (need the columns utterance, speaker, "
                           "dialog, label, predicted and 1 to %d classes)",
                           path, AFFECT_MAX_CLASSES);
    for (size_t k = N_COLUMNS; k < csv->n; k++) {
        if (find_class(table, csv->cells[k]) >= 0)
            return affect_fail(err, MALFORMED, "%s: the class \"%.60s\" has two columns", path,
                               csv->cells[k]);
        char *name = strdup(csv->cells[k]);
        if (!name) return affect_fail(err, NO_MEMORY, "%s: no memory", path);
        table->classes[table->n_classes++] = name;
    }
    return AFFECT_STATUS_OK;
}

static affect_status read_row(affect_prediction_table *table, const affect_csv *csv,
                              const char *path, affect_error *err) {
    if (csv->n != N_COLUMNS + table->n_classes)
        return affect_fail(err, MALFORMED, "%s: line %zu has %zu cells (need %zu)", path, csv->line,
                           csv->n, N_COLUMNS + table->n_classes);
    affect_prediction_row row = {.label = find_class(table, csv->cells[3]),
                                 .predicted = find_class(table, csv->cells[4])};
    if (row.label < 0 || row.predicted < 0)
        return affect_fail(err, MALFORMED, "%s: line %zu: \"%.60s\" has no column of its own", path,
                           csv->line, csv->cells[row.label < 0 ? 3 : 4]);
    if ((table->n & (table->n - 1)) == 0) { /* full at each power of two */
        size_t capacity = table->n ? 2 * table->n : 1;
        affect_prediction_row *rows = realloc(table->rows, capacity * sizeof *rows);
        if (!rows) return affect_fail(err, NO_MEMORY, "%s: no memory for %zu rows", path, capacity);
        table->rows = rows;
    }
    row.utterance = strdup(csv->cells[0]);
    row.speaker = strdup(csv->cells[1]);
    row.dialog = strdup(csv->cells[2]);
    table->rows[table->n++] = row;
    if (row.utterance && row.speaker && row.dialog) return AFFECT_STATUS_OK;
    return affect_fail(err, NO_MEMORY, "%s: no memory for row %zu", path, table->n);
}

static int by_utterance(const void *a, const void *b) {
    const affect_prediction_row *x = a, *y = b;
    return strcmp(x->utterance, y->utterance);
}

static affect_status read_rows(affect_prediction_table *table, affect_csv *csv, const char *path,
                               affect_error *err) {
    bool more = false;
    AFFECT_TRY(affect_csv_next(csv, &more, err));
    AFFECT_TRY(read_header(table, csv, path, err));
    for (;;) {
        affect_status status = affect_csv_next(csv, &more, err);
        if (status != AFFECT_STATUS_OK)
            return affect_error_prefix(err, status, "%s: line %zu", path, csv->line);
        if (!more) break;
        AFFECT_TRY(read_row(table, csv, path, err));
    }
    if (table->n) qsort(table->rows, table->n, sizeof *table->rows, by_utterance);
    for (size_t i = 1; i < table->n; i++)
        if (by_utterance(&table->rows[i - 1], &table->rows[i]) == 0)
            return affect_fail(err, MALFORMED, "%s: the utterance \"%.80s\" occurs twice", path,
                               table->rows[i].utterance);
    return AFFECT_STATUS_OK;
}

affect_status affect_prediction_table_read(affect_prediction_table *table, const char *path,
                                           size_t max_bytes, affect_error *err) {
    char *text = NULL;
    size_t size = 0;
    affect_csv csv;
    *table = (affect_prediction_table){0};
    AFFECT_TRY(affect_file_read(&text, &size, path, max_bytes, err));
    affect_csv_begin(&csv, text, size, ',');
    affect_status status = read_rows(table, &csv, path, err);
    if (status != AFFECT_STATUS_OK) affect_prediction_table_free(table);
    affect_csv_end(&csv);
    free(text);
    return status;
}
