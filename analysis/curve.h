/* `lethe curve`: results.tsv in, one table out that holds learning, forgetting, tokens to a target, areas, fronts and hypervolumes, with intervals.
 *
 * One row a quantity (analysis/curve_quantities.h). Rows with a label are of a checkpoint; with the columns of a line but no label, of a line; with
 * neither, of all lines of the condition. `at` is what the quantity was taken at: the target, or the reference point SOURCE,LEARNING. draw_mean is the
 * mean over the replicates: beside the value it shows the bias that noise gives to a maximum, and for `front` it is the share of replicates in which
 * the checkpoint is on the front. */
#ifndef LETHE_ANALYSIS_CURVE_H
#define LETHE_ANALYSIS_CURVE_H

#include "analysis/curve_points.h"

/* Writes o->out and gives the same table (tsv_release). LT_E_INPUT, LT_E_USAGE as curve_study_read. */
Status curve_run(Tsv *table, const CurveOptions *o);

#endif
