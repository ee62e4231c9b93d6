/* OUT/run.json: what was asked, with what, written before the work starts and ended with how it went. A repeated command that finds
 * everything done does not touch it. */
#ifndef LETHE_EVAL_SCORE_RUNFILE_H
#define LETHE_EVAL_SCORE_RUNFILE_H

#include "eval/score/label.h"
#include "eval/score/plan.h"
#include "eval/score/results.h"

typedef struct RunFile {
    json_t *root; /* NULL until begun */
    const char *folder; /* the options' */
    char *path;
    double start_s;
} RunFile;

/* Writes the file with status "running", once; later calls do nothing. */
Status runfile_begin(RunFile *run, Device *dev, const ScoreOptions *options, const ScorePlan *plan, const CheckpointName *name);
/* Adds what became known of checkpoint i. */
Status runfile_checkpoint(RunFile *run, size_t i, const ScoreResult *r, const Digest *tokenizer);
/* Whether there is a run.json of a run that did not come to its end. */
Status runfile_unfinished(const char *out, bool *unfinished);
/* Writes status ("done", "failed", "interrupted"), seconds and peak memory, if begun, and releases. */
Status runfile_end(RunFile *run, Status outcome);

#endif
