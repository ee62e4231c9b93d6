/* Replicates of a panel's scores: what other items of the same tasks would have given, for all checkpoints at once.
 *
 * From the items: `lethe score` leaves samples_TASK_TIME.jsonl beside results.tsv, and where all checkpoints of a panel have one with the same documents,
 * documents are drawn, the same ones for every checkpoint and for the base. Else from the standard errors: independent normal draws, which makes
 * differences look less certain than they are, because what the checkpoints have in common does not cancel. */
#ifndef LETHE_ANALYSIS_CURVE_DRAWS_H
#define LETHE_ANALYSIS_CURVE_DRAWS_H

#include "analysis/curve_points.h"
#include "core/pool.h"

typedef enum CurveNoise { NOISE_NONE, NOISE_STDERR, NOISE_ITEMS } CurveNoise;
/* "", "stderr", "items". */
const char *curve_noise_name(CurveNoise noise);

typedef struct CurveDraws {
    CurveNoise noise;         /* NONE: some score has neither; no draws */
    size_t n_draw;
    double *learning, *source; /* [n_draw][n_point + 1], the base last */
} CurveDraws;

/* curve_draws_release, also after a failure. */
Status curve_draws_make(CurveDraws *out, const CurveStudy *study, const CurvePanel *panel, const CurveOptions *o, Pool *pool);
void curve_draws_release(CurveDraws *draws);

/* The values of one score for all points of a panel, [n_item][n_point + 1], from the samples files. *found false, and nothing taken: some checkpoint has
 * no such file, or one with other documents or another mean than results.tsv. mem_free(*value). */
Status curve_items_read(double **value, size_t *n_item, bool *found, const CurveStudy *study, const CurvePanel *panel, size_t score, const char *folder);

#endif
