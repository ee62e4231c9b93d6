/* The end of one checkpoint: lm-eval's files and the rows of results.tsv, brought up to date by one process at a time, so that whatever kills it, and
 * however many share OUT, the same command run again leaves what an undisturbed run leaves.
 *
 * The time in the names is on the disk before the first file that bears it (OUT/log/<identity>.time): whoever goes on writes the same names. The
 * samples come next, the results file says that they are whole, and the table is last. */
#ifndef LETHE_EVAL_SCORE_PUBLISH_H
#define LETHE_EVAL_SCORE_PUBLISH_H

#include "eval/score/results.h"

/* Whether all of it is there already; then nothing needs to be written. */
Status publish_done(const char *out, const ScoreResult *r, bool *done);
/* Takes the folder's lock, clears away what killed writers left half-written, and writes what is missing. */
Status publish_result(const char *out, const ScoreResult *r);

#endif
