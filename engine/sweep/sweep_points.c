/* Points of a sweep: combinations of a grid, or random draws.
 *
 * A parameter is parsed once into a struct that can give its k-th value (of a grid) or draw one.
 * Draw number i of parameter p is uniform number i of stream ("sweep", p): adding a point changes
 * none before it. Draws that repeat an earlier point are drawn again, until as many points as can
 * be told apart are there or 100 draws in a row bring nothing new. */
#include "engine/core/random.h"
#include "engine/sweep/sweep.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_VALUES = 1000, MAX_REPEATS = 100 };

typedef enum { VALUES, UNIFORM, Q_UNIFORM, INT_UNIFORM, LOG_UNIFORM, Q_LOG_UNIFORM } distribution;
static const char *const distributions[] = {
    "categorical",          "uniform", "q_uniform", "int_uniform", "log_uniform_values",
    "q_log_uniform_values", NULL};

/* A parameter's object. */
typedef struct {
    affect_json *value, *values, *probabilities;
    int distribution;
    double min, max, q;
} parameter_fields_struct;

static const affect_field parameter_fields[] = {
    AFFECT_FIELD_JSON(parameter_fields_struct, value, "the one value", .schema = "{}"),
    AFFECT_FIELD_JSON(parameter_fields_struct, values, "those that are tried",
                      .schema = "{'type':'array'}"),
    AFFECT_FIELD_JSON(parameter_fields_struct, probabilities, "of the values, for random draws",
                      .schema = "{'type':'array'}"),
    AFFECT_FIELD_CHOICE(parameter_fields_struct, distribution, VALUES, distributions,
                        "of random draws"),
    AFFECT_FIELD_NUMBER(parameter_fields_struct, min, NAN, -1e300, 1e300, "the least value"),
    AFFECT_FIELD_NUMBER(parameter_fields_struct, max, NAN, -1e300, 1e300, "the greatest value"),
    AFFECT_FIELD_NUMBER(parameter_fields_struct, q, 1, 1e-12, 1e300, "values are multiples of it"),
    AFFECT_FIELD_END};

typedef struct {
    const char *name; /* borrowed */
    parameter_fields_struct given;
    const affect_json *list; /* of values; NULL: a distribution */
    affect_json *one;        /* owned: the list of a single value */
    size_t n;                /* values; 0: a distribution */
} parameter;

static void free_parameters(parameter *parameters, size_t n) {
    for (size_t i = 0; i < n; i++) {
        affect_fields_free(&parameters[i].given, parameter_fields);
        affect_json_free(parameters[i].one);
    }
}

/* Paths that a sweep may vary: members of a train request but those of the sweep itself. */
static affect_status check_name(const char *name, affect_error *err) {
    static const char *const roots[] = {"architecture", "variables", "training", "precision"};
    size_t n = strcspn(name, ".");
    if (strcmp(name, "training.seed") == 0)
        return affect_field_fail(err, "/parameters", name, "repetitions are `seeds`");
    if (strlen(name) > 100 || strstr(name, "..") || name[strlen(name) - 1] == '.')
        return affect_field_fail(err, "/parameters", name, "is no path in a train request");
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++)
        if (strlen(roots[i]) == n && strncmp(roots[i], name, n) == 0) return AFFECT_STATUS_OK;
    return affect_field_fail(err, "/parameters", name,
                             "is no path in a train request (need one that begins with "
                             "architecture, variables, training or precision)");
}

static affect_status check_probabilities(const parameter *p, affect_error *err) {
    const affect_json *list = p->given.probabilities;
    double sum = 0;
    if (!list) return AFFECT_STATUS_OK;
    if (affect_json_size(list) != p->n)
        return affect_field_fail(err, "/parameters", p->name, "need one probability a value");
    for (const affect_json *e = affect_json_first(list); e; e = affect_json_next(e)) {
        double share = affect_json_number(e, -1);
        if (!(share >= 0 && share <= 1))
            return affect_field_fail(err, "/parameters", p->name, "probabilities are of 0..1");
        sum += share;
    }
    if (fabs(sum - 1) < 1e-6) return AFFECT_STATUS_OK;
    return affect_field_fail(err, "/parameters", p->name, "probabilities add up to %g (need 1)",
                             sum);
}

static affect_status check_values(parameter *p, affect_error *err) {
    if (p->given.value) {
        p->one = affect_json_new_array();
        affect_json_append(p->one, affect_json_copy(p->given.value));
        p->list = p->one;
    } else {
        p->list = p->given.values;
    }
    p->n = affect_json_size(p->list);
    if (!affect_json_is_array(p->list) || p->n < 1 || p->n > MAX_VALUES)
        return affect_field_fail(err, "/parameters", p->name, "need a list of 1..%d values",
                                 MAX_VALUES);
    for (const affect_json *e = affect_json_first(p->list); e; e = affect_json_next(e)) {
        char *text = affect_json_canonical_text(e);
        bool twice = false;
        for (const affect_json *o = affect_json_first(p->list); o != e && text && !twice;
             o = affect_json_next(o)) {
            char *other = affect_json_canonical_text(o);
            twice = other && strcmp(text, other) == 0;
            free(other);
        }
        free(text);
        if (twice) return affect_field_fail(err, "/parameters", p->name, "a value is there twice");
    }
    return check_probabilities(p, err);
}

static affect_status check_distribution(const parameter *p, int method, affect_error *err) {
    const parameter_fields_struct *g = &p->given;
    bool logarithmic = g->distribution == LOG_UNIFORM || g->distribution == Q_LOG_UNIFORM;
    if (method == AFFECT_SWEEP_GRID)
        return affect_field_fail(err, "/parameters", p->name,
                                 "a grid needs values (a distribution needs method \"random\")");
    if (isnan(g->min) || isnan(g->max) || !(g->min < g->max))
        return affect_field_fail(err, "/parameters", p->name, "need min below max");
    if (logarithmic && g->min <= 0)
        return affect_field_fail(err, "/parameters", p->name, "need min above 0 for a logarithm");
    if (g->distribution == INT_UNIFORM && (g->min != floor(g->min) || g->max != floor(g->max)))
        return affect_field_fail(err, "/parameters", p->name, "need integers");
    return AFFECT_STATUS_OK;
}

static affect_status read_parameter(parameter *p, const affect_json *json, int method,
                                    affect_error *err) {
    char path[160];
    p->name = affect_json_name(json);
    if (!p->name[0]) return affect_field_fail(err, "/parameters", "", "has an empty name");
    AFFECT_TRY(check_name(p->name, err));
    if (!affect_json_is_object(json))
        return affect_field_fail(err, "/parameters", p->name,
                                 "need an object with value, values or a distribution");
    snprintf(path, sizeof path, "/parameters/%.100s", p->name);
    affect_fields_default(&p->given, parameter_fields);
    AFFECT_TRY(affect_fields_parse(&p->given, parameter_fields, json, path, err));
    bool drawn = p->given.distribution != VALUES;
    int n_given = (p->given.value != NULL) + (p->given.values != NULL) + drawn;
    if (n_given != 1)
        return affect_field_fail(err, "/parameters", p->name,
                                 "need one of value, values and distribution");
    return drawn ? check_distribution(p, method, err) : check_values(p, err);
}

static affect_status read_parameters(parameter *parameters, size_t *n,
                                     const affect_sweep_config *config, affect_error *err) {
    const affect_json *json = config->parameters;
    affect_status status = AFFECT_STATUS_OK;
    *n = 0;
    if (json && !affect_json_is_object(json))
        return affect_field_fail(err, "", "parameters", "is a %s (need an object)",
                                 affect_json_type_name(json));
    if (affect_json_size(json) > AFFECT_SWEEP_MAX_PARAMETERS)
        return affect_field_fail(err, "", "parameters", "%zu of them (at most %d)",
                                 affect_json_size(json), AFFECT_SWEEP_MAX_PARAMETERS);
    for (const affect_json *e = affect_json_first(json); e; e = affect_json_next(e))
        AFFECT_CHECK(status, err, read_parameter(&parameters[(*n)++], e, config->method, err));
    return status;
}

/* ---- Grid ---- */

static double count_grid(const parameter *parameters, size_t n) {
    double count = 1;
    for (size_t i = 0; i < n; i++) count *= (double)parameters[i].n;
    return count;
}

static void add_grid(affect_json *points, const parameter *parameters, size_t n, size_t n_points) {
    for (size_t i = 0; i < n_points; i++) {
        affect_json *point = affect_json_append(points, affect_json_new_object());
        size_t every = n_points, rest = i;
        for (size_t k = 0; k < n; k++) {
            every /= parameters[k].n;
            affect_json_add(point, parameters[k].name,
                            affect_json_copy(affect_json_at(parameters[k].list, rest / every)));
            rest %= every;
        }
    }
}

/* ---- Random ---- */

static size_t choose_value(const parameter *p, double uniform) {
    if (!p->given.probabilities) return (size_t)(uniform * (double)p->n);
    double sum = 0;
    size_t k = 0;
    for (const affect_json *e = affect_json_first(p->given.probabilities); e && k + 1 < p->n;
         e = affect_json_next(e), k++) {
        sum += affect_json_number(e, 0);
        if (uniform < sum) break;
    }
    return k;
}

static affect_json *draw(const parameter *p, double uniform) {
    const parameter_fields_struct *g = &p->given;
    double value = 0;
    switch (g->distribution) {
    case VALUES:
        return affect_json_copy(affect_json_at(p->list, choose_value(p, uniform)));
    case INT_UNIFORM:
        value = g->min + floor(uniform * (g->max - g->min + 1));
        break;
    case LOG_UNIFORM:
    case Q_LOG_UNIFORM:
        value = exp(log(g->min) + uniform * (log(g->max) - log(g->min)));
        break;
    default:
        value = g->min + uniform * (g->max - g->min);
    }
    if (g->distribution == Q_UNIFORM || g->distribution == Q_LOG_UNIFORM)
        value = round(value / g->q) * g->q;
    if (value < g->min) value = g->min;
    if (value > g->max) value = g->max;
    return affect_json_new_number(value);
}

static bool is_new(const affect_json *points, const char *text) {
    for (const affect_json *p = affect_json_first(points); p; p = affect_json_next(p)) {
        char *other = affect_json_text(p);
        bool same = other && strcmp(other, text) == 0;
        free(other);
        if (same) return false;
    }
    return true;
}

static affect_status add_draws(affect_json *points, const parameter *parameters, size_t n,
                               const affect_sweep_config *config, affect_error *err) {
    int n_repeats = 0;
    for (uint64_t i = 0; affect_json_size(points) < (size_t)config->run_cap; i++) {
        affect_json *point = affect_json_new_object();
        for (size_t k = 0; k < n; k++) {
            affect_random_key key = {(uint64_t)config->seed, affect_random_stream("sweep", k, 0)};
            affect_json_add(point, parameters[k].name,
                            draw(&parameters[k], affect_random_uniform(key, i)));
        }
        char *text = affect_json_text(point);
        if (!text) {
            affect_json_free(point);
            return affect_fail(err, NO_MEMORY, "no memory for points");
        }
        bool fresh = is_new(points, text);
        free(text);
        if (fresh)
            affect_json_append(points, point);
        else
            affect_json_free(point);
        n_repeats = fresh ? 0 : n_repeats + 1;
        if (n_repeats == MAX_REPEATS || n == 0) break;
    }
    return AFFECT_STATUS_OK;
}

affect_status affect_sweep_points(affect_json **points, const affect_sweep_config *config,
                                  affect_error *err) {
    parameter parameters[AFFECT_SWEEP_MAX_PARAMETERS] = {0};
    size_t n = 0;
    *points = NULL;
    affect_status status = read_parameters(parameters, &n, config, err);
    double n_grid = count_grid(parameters, n);
    if (status == AFFECT_STATUS_OK && config->method == AFFECT_SWEEP_GRID &&
        n_grid > (double)config->run_cap)
        status = affect_field_fail(err, "", "run_cap", "the grid has %.0f points (run_cap %lld)",
                                   n_grid, (long long)config->run_cap);
    if (status == AFFECT_STATUS_OK) {
        *points = affect_json_new_array();
        if (config->method == AFFECT_SWEEP_GRID)
            add_grid(*points, parameters, n, (size_t)n_grid);
        else
            status = add_draws(*points, parameters, n, config, err);
    }
    free_parameters(parameters, n);
    if (status != AFFECT_STATUS_OK) {
        affect_json_free(*points);
        *points = NULL;
    }
    return status;
}
