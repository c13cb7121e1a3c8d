/* What changes between epochs by the validation loss: the learning rate, and when to stop.
 *
 * ReduceLROnPlateau and EarlyStopping as Keras 3 does them (keras/callbacks), mode min:
 *  - an epoch improves when loss < best - min_delta;
 *  - plateau: after `patience` epochs without improvement the rate is multiplied by factor, not
 * below min_learning_rate; then `cooldown` epochs do not count. Keras keeps the rate as float32: so
 * do we;
 *  - stopping: after `patience` epochs without improvement. */
#ifndef AFFECT_TRAIN_SCHEDULE_H
#define AFFECT_TRAIN_SCHEDULE_H

#include "engine/core/fields.h"

typedef enum { AFFECT_SCHEDULE_CONSTANT, AFFECT_SCHEDULE_PLATEAU } affect_schedule_kind;

typedef struct {
    int kind; /* affect_schedule_kind */
    double factor, min_delta, min_learning_rate;
    int64_t patience, cooldown;
} affect_schedule_config;
extern const affect_field affect_schedule_fields[];

typedef struct {
    double learning_rate; /* of the next epoch */
    double best;
    int64_t n_waiting, n_cooling;
} affect_schedule;

void affect_schedule_begin(affect_schedule *schedule, double learning_rate);
/* Tells the loss of the epoch that ended; learning_rate is the next one's afterwards. */
void affect_schedule_update(affect_schedule *schedule, const affect_schedule_config *config,
                            double val_loss);

/* What the best epoch is chosen by, and what stopping watches: numbers of the validation part. */
typedef enum {
    AFFECT_MONITOR_VAL_LOSS,
    AFFECT_MONITOR_VAL_ACCURACY,
    AFFECT_MONITOR_VAL_UAR, /* "val_recall_mean" */
    AFFECT_MONITOR_VAL_F1_MACRO
} affect_monitor;
extern const char *const affect_monitor_names[]; /* ended by NULL */

typedef struct {
    int64_t patience; /* 0: never stops */
    double min_delta;
    int monitor; /* affect_monitor */
} affect_stopping_config;
extern const affect_field affect_stopping_fields[];

typedef struct {
    double best;
    int64_t n_waiting;
} affect_stopping;

void affect_stopping_begin(affect_stopping *stopping);
/* Takes what is monitored, less being better (an accuracy with its sign changed). True when
 * training should end after this epoch. */
bool affect_stopping_update(affect_stopping *stopping, const affect_stopping_config *config,
                            double monitored);

#endif
