/* The units of one checkpoint: its matrices by their keys, and the loop that takes those apart that nobody has yet, the next one being read meanwhile. */
#ifndef LETHE_ANALYSIS_RUN_UNITS_H
#define LETHE_ANALYSIS_RUN_UNITS_H

#include "analysis/run_table.h"
#include "core/appendlog.h"
#include "core/claims.h"
#include "core/log.h"

/* What the units of all checkpoints share. */
typedef struct RunShared {
    Device *dev;
    const SpectraOptions *options;
    RunRecords records;
    Pool *pair_pool;     /* of two: one reads, one decomposes */
    StrBuf log_folder, claim_folder;
    AppendLog log;       /* path NULL: not made yet */
    Claims claims;       /* folder empty: not made yet */
} RunShared;

/* The selected matrices of a base. LT_E_USAGE if the expression fits none. Free with mem_free. */
Status run_select(const ParamEntry ***out, size_t *n, const ParamList *list, const char *modules);

/* Names and keys of those matrices that the pair has. Free with run_matrices_free. */
Status run_matrices(RunMatrix **out, size_t *n_out, RunShared *s, const DeltaPair *pair, const ParamEntry *const *entry, size_t n);
void run_matrices_free(RunMatrix *matrix, size_t n);

size_t run_missing(const RunShared *s, const RunMatrix *matrix, size_t n);
/* Until each has a record, this process's or another's. */
Status run_units(RunShared *s, const DeltaPair *pair, const RunMatrix *matrix, size_t n, const char *label);

#endif
