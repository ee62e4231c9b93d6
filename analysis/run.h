/* `lethe spectrum`: checkpoints x matrices -> records -> ranks.tsv, spectra.tsv, all singular values, a table.
 *
 * A unit is one matrix of one checkpoint, named by its content (key). Units are claimed, so that any number of processes with one OUT share them; each logs
 * what it did; whoever finds a checkpoint complete writes its tables, the same ones whoever it is. */
#ifndef LETHE_ANALYSIS_RUN_H
#define LETHE_ANALYSIS_RUN_H

#include "analysis/delta.h"
#include "analysis/matrix_values.h"

/* A tuned checkpoint, and the cells that say how it was made ("" where that is not known). */
typedef struct RunName {
    const char *path, *label, *folder; /* folder: the label as a file's name */
    const char *condition, *run, *method, *rank, *tokens, *epochs;
} RunName;

enum { RUN_MAX_THRESHOLDS = 16 };

typedef struct SpectraOptions {
    const char *base, *out;
    const RunName *tuned;
    size_t n_tuned;
    double threshold[RUN_MAX_THRESHOLDS]; /* those that trusted_to is looked for among */
    int n_threshold;
    const char *modules; /* a regular expression, found anywhere in a tensor's name; NULL: the matrices of the blocks, the embedding and the head */
    DeltaSettings delta;
    ValueMethod method;
    int64_t vectors;     /* rows of subspaces.tsv for spaces of up to so many; 0: none. Of changes only */
    bool fresh, json;
    FileHashMode hash;
    const char *command_line;
} SpectraOptions;

/* Decomposes what is not yet recorded, writes the files, prints the table (or one JSON document) on stdout. A checkpoint that cannot be taken apart is
 * reported, the rest finish, LT_E_FAIL. */
Status spectra_run(Device *dev, const SpectraOptions *options);

/* From a signal: ends the run behind the matrix at hand with LT_E_INTERRUPTED. */
void spectra_stop(void);

#endif
