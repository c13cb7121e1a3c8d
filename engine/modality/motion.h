/* Motion capture as a modality: the extraction of "motion". Its options are affect_motion_config
 * (segments.h), the record of a quality is affect_motion_quality (quality.h), stream k is kind k of
 * affect_mocap_kind. */
#ifndef AFFECT_MODALITY_MOTION_H
#define AFFECT_MODALITY_MOTION_H

#include "engine/modality/features.h"
#include "engine/modality/quality.h"
#include "engine/modality/segments.h"

/* A stream's text is parsed once (mocap_text.h), for all windows of a reading together, and
 * averaged in each (segments.h). MALFORMED: no valid row, wrong columns. A source that ends after
 * its header is no failure: the listener is told (line 0), the columns are missing, and the quality
 * says is_empty. A window of more rows than AFFECT_SEGMENTS_MAX_ROWS is given up alone, and told;
 * when it is the only one, that is TOO_LARGE. */
extern const affect_extraction affect_motion_extraction;

#endif
