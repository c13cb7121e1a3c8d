/* Sound as a modality: the extraction of "mel". Its options are affect_mel_config (mel.h). */
#ifndef AFFECT_MODALITY_AUDIO_H
#define AFFECT_MODALITY_AUDIO_H

#include "engine/modality/features.h"

/* The record of an affect_quality of "audio". */
typedef struct {
    bool truncated;     /* longer than clip_seconds: the rest was ignored */
    bool silent;        /* no power: the spectrogram is all zeros */
    bool faint;         /* hardly any power: the spectrogram is nearly all ones (mel.h) */
    double seconds;     /* of the whole source or window, not only of the clip */
    int sample_rate_hz; /* of the source */
    int n_channels;
} affect_audio_quality;

/* Its record as JSON: {"present", "seconds", "sample_rate", "channels", "truncated", "silent",
 * "faint"}. A recording is read as the mean of its channels (sound_file.h), resampled to the
 * options' rate (resample.h) where it has another, cut at clip_seconds, and transformed (mel.h). No
 * more is read than the clip and half a second, so that the clip's last samples are resampled as
 * those of the whole sound. */
extern const affect_extraction affect_audio_extraction;

#endif
