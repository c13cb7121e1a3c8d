/* The networks of tests/reference/keras/small_graph.json and small_text.json, and one with a masked
 * input; data for them. */
#ifndef AFFECT_TESTS_GRAPH_NETWORKS_H
#define AFFECT_TESTS_GRAPH_NETWORKS_H

#include "engine/core/file.h"
#include "tests/engine/model/network.h"

static const network_sizes graph_sizes = {
    .frames = 5, .mels = 24, .parts = 20, .columns = 7, .classes = 4};

/* Frames that are padding count for nothing: pooling ends the mask, past a residual. */
static const char masked_graph[] =
    "{\"inputs\": {\"audio\": {\"feature\": \"mel\", \"mask\": true,"
    "   \"shape\": [\"$frames\", \"$mels\", 1]}},"
    " \"branches\": {\"audio\": {\"input\": \"audio\", \"layers\": ["
    "   {\"type\": \"time_distributed\", \"layer\": {\"type\": \"flatten\", \"name\": \"bands\"}},"
    "   {\"type\": \"time_distributed\", \"layer\": {\"type\": \"dense\", \"name\": \"dense_1\","
    "     \"units\": 6, \"activation\": \"tanh\"}},"
    "   {\"type\": \"layer_norm\", \"name\": \"norm\"},"
    "   {\"type\": \"add\", \"name\": \"sum\", \"inputs\": [\"dense_1\", \"norm\"]},"
    "   {\"type\": \"attention_pooling\", \"name\": \"attention\", \"units\": 3},"
    "   {\"type\": \"global_average_pooling1d\", \"name\": \"mean\", \"inputs\": [\"sum\"]},"
    "   {\"type\": \"concatenate\", \"name\": \"both\", \"inputs\": [\"attention\", \"mean\"]}]}},"
    " \"fusion\": {\"branches\": [\"audio\"], \"layers\": ["
    "   {\"type\": \"dense\", \"name\": \"output\", \"units\": \"$classes\","
    "     \"activation\": \"softmax\"}]}}";

static const network_sizes text_sizes = {.frames = 7, .mels = 1, .classes = 4};

/* Ids of 1..8 in place of the numbers, of which some repeat; with zeros behind utterance b's first
 * b % 7 + 1. */
static inline void make_ids(network_data *data, size_t n) {
    for (size_t b = 0; b < n; b++)
        for (size_t t = 0; t < 7; t++)
            data->inputs[0][b * 7 + t] = t <= b % 7 ? (float)(1 + (3 * b + t * t) % 8) : 0;
}

/* Whether the loss does not depend on the tensor: a key's bias adds the same to all scores of a
 * query, which softmax takes out. */
static inline bool is_without_effect(const affect_parameter *p) {
    return strstr(p->name, ".key_bias") != NULL;
}

/* "small_graph"; owned. */
static inline char *read_network(const char *name) {
    char *text = NULL;
    size_t size = 0;
    char path[1024];
    const char *folder = getenv("AFFECT_TEST_REFERENCE"); /* on a machine with another tree */
    snprintf(path, sizeof path, "%s/keras/%s.json", folder ? folder : TEST_REFERENCE_DIR, name);
    CHECK_OK(affect_file_read(&text, &size, path, 1 << 16, err));
    return text;
}

#endif
