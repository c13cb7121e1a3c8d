/* Calibration; see calibration.h. One pass over the probabilities; the adaptive bins are cut from
 * the utterances in the order of their confidence, equal ones in their own order. */
#include "engine/evaluation/calibration.h"

#include <math.h>
#include <stdlib.h>

#define BINS             AFFECT_CALIBRATION_BINS
#define LEAST_LIKELIHOOD 1e-12

typedef struct {
    double confidence;
    size_t index;
    int is_right;
} scored;

static int compare(const void *a, const void *b) {
    const scored *x = a, *y = b;
    if (x->confidence != y->confidence) return x->confidence < y->confidence ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* Sums become means; the bin's part of the error, times n. */
static double close_bin(affect_calibration_bin *bin) {
    if (bin->n == 0) return 0;
    double error = fabs(bin->accuracy - bin->confidence);
    bin->accuracy /= (double)bin->n;
    bin->confidence /= (double)bin->n;
    return error;
}

static void add(affect_calibration_bin *bin, const scored *one) {
    bin->n++;
    bin->confidence += one->confidence;
    bin->accuracy += one->is_right;
}

affect_status affect_calibrate(affect_calibration *calibration, const float *probabilities,
                               const int *labels, size_t n, size_t n_classes, affect_error *err) {
    scored *all = malloc((n + 1) * sizeof *all);
    if (!all) return affect_fail(err, NO_MEMORY, "no memory to calibrate %zu utterances", n);
    *calibration = (affect_calibration){0};
    for (size_t i = 0; i < n; i++) {
        const float *p = probabilities + i * n_classes;
        size_t best = 0;
        for (size_t c = 0; c < n_classes; c++) {
            double miss = (double)p[c] - (c == (size_t)labels[i]);
            if (p[c] > p[best]) best = c;
            calibration->brier += miss * miss;
        }
        calibration->nll -= log(fmax((double)p[labels[i]], LEAST_LIKELIHOOD));
        all[i] = (scored){p[best], i, best == (size_t)labels[i]};
        int bin = (int)ceil(all[i].confidence * BINS) - 1;
        add(&calibration->bins[bin < 0 ? 0 : bin < BINS ? bin : BINS - 1], &all[i]);
    }
    for (int b = 0; b < BINS; b++) calibration->ece += close_bin(&calibration->bins[b]);
    qsort(all, n, sizeof *all, compare);
    for (size_t b = 0, begin = 0; b < BINS; b++) {
        affect_calibration_bin bin = {0};
        size_t end = begin + n / BINS + (b < n % BINS);
        for (; begin < end; begin++) add(&bin, &all[begin]);
        calibration->ece_adaptive += close_bin(&bin);
    }
    calibration->nll /= (double)n;
    calibration->brier /= (double)n;
    calibration->ece /= (double)n;
    calibration->ece_adaptive /= (double)n;
    free(all);
    return AFFECT_STATUS_OK;
}

affect_json *affect_calibration_to_json(const affect_calibration *calibration) {
    affect_json *json = affect_json_new_object();
    affect_json_set_number(json, "nll", calibration->nll);
    affect_json_set_number(json, "brier", calibration->brier);
    affect_json_set_number(json, "ece", calibration->ece);
    affect_json_set_number(json, "ece_adaptive", calibration->ece_adaptive);
    affect_json *bins = affect_json_set_array(json, "bins");
    for (int b = 0; b < BINS; b++) {
        affect_json *bin = affect_json_append(bins, affect_json_new_object());
        affect_json_set_number(bin, "n", (double)calibration->bins[b].n);
        affect_json_set_number(bin, "confidence", calibration->bins[b].confidence);
        affect_json_set_number(bin, "accuracy", calibration->bins[b].accuracy);
    }
    return json;
}

bool affect_calibration_from_json(affect_calibration *calibration, const affect_json *json) {
    const affect_json *bins = affect_json_get(json, "bins");
    size_t b = 0;
    *calibration = (affect_calibration){0};
    if (affect_json_size(bins) != BINS) return false;
    calibration->nll = affect_json_get_number(json, "nll", 0);
    calibration->brier = affect_json_get_number(json, "brier", 0);
    calibration->ece = affect_json_get_number(json, "ece", 0);
    calibration->ece_adaptive = affect_json_get_number(json, "ece_adaptive", 0);
    for (const affect_json *bin = affect_json_first(bins); bin; bin = affect_json_next(bin), b++) {
        double n = affect_json_get_number(bin, "n", 0);
        calibration->bins[b].n = n > 0 && n < 1e15 ? (size_t)n : 0;
        calibration->bins[b].confidence = affect_json_get_number(bin, "confidence", 0);
        calibration->bins[b].accuracy = affect_json_get_number(bin, "accuracy", 0);
    }
    return true;
}
