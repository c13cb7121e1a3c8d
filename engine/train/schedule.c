/* Learning rate and stopping by validation loss; see schedule.h. */
#include "engine/train/schedule.h"

#include <math.h>

const char *const affect_monitor_names[] = {"val_loss", "val_accuracy", "val_recall_mean",
                                            "val_f1_macro", NULL};
static const char *const kinds[] = {"constant", "plateau", NULL};

const affect_field affect_schedule_fields[] = {
    AFFECT_FIELD_CHOICE(affect_schedule_config, kind, AFFECT_SCHEDULE_CONSTANT, kinds,
                        "constant, or plateau (Keras' ReduceLROnPlateau on the validation loss)"),
    AFFECT_FIELD_NUMBER(affect_schedule_config, factor, 0.1, 1e-6, 0.999999,
                        "what the rate is multiplied by"),
    AFFECT_FIELD_INTEGER(affect_schedule_config, patience, 5, 0, 100000,
                         "epochs without improvement before the rate falls"),
    AFFECT_FIELD_NUMBER(affect_schedule_config, min_delta, 1e-4, 0, 1e6,
                        "smallest fall of the loss that counts as improvement"),
    AFFECT_FIELD_INTEGER(affect_schedule_config, cooldown, 0, 0, 100000,
                         "epochs after a fall that do not count"),
    AFFECT_FIELD_NUMBER(affect_schedule_config, min_learning_rate, 0, 0, 1,
                        "the rate never falls below"),
    AFFECT_FIELD_END};

const affect_field affect_stopping_fields[] = {
    AFFECT_FIELD_INTEGER(affect_stopping_config, patience, 0, 0, 100000,
                         "epochs without improvement before training stops; 0 = never"),
    AFFECT_FIELD_NUMBER(affect_stopping_config, min_delta, 0, 0, 1e6,
                        "smallest change for the better that counts as improvement"),
    AFFECT_FIELD_CHOICE(affect_stopping_config, monitor, AFFECT_MONITOR_VAL_LOSS,
                        affect_monitor_names, "what is watched"),
    AFFECT_FIELD_END};

void affect_schedule_begin(affect_schedule *schedule, double learning_rate) {
    *schedule = (affect_schedule){.learning_rate = (float)learning_rate, .best = INFINITY};
}

void affect_schedule_update(affect_schedule *schedule, const affect_schedule_config *config,
                            double val_loss) {
    if (config->kind != AFFECT_SCHEDULE_PLATEAU) return;
    if (schedule->n_cooling > 0) {
        schedule->n_cooling--;
        schedule->n_waiting = 0;
    }
    if (val_loss < schedule->best - config->min_delta) {
        schedule->best = val_loss;
        schedule->n_waiting = 0;
        return;
    }
    if (schedule->n_cooling > 0) return;
    if (++schedule->n_waiting < config->patience) return;
    if (schedule->learning_rate <= (float)config->min_learning_rate) return;
    double rate = fmax(schedule->learning_rate * config->factor, config->min_learning_rate);
    schedule->learning_rate = (float)rate;
    schedule->n_cooling = config->cooldown;
    schedule->n_waiting = 0;
}

void affect_stopping_begin(affect_stopping *stopping) {
    *stopping = (affect_stopping){.best = INFINITY};
}

bool affect_stopping_update(affect_stopping *stopping, const affect_stopping_config *config,
                            double monitored) {
    if (config->patience == 0) return false;
    stopping->n_waiting++;
    if (monitored < stopping->best - config->min_delta) {
        stopping->best = monitored;
        stopping->n_waiting = 0;
    }
    return stopping->n_waiting >= config->patience;
}
