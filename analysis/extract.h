/* `lethe extract`: the adapter that comes nearest to a full fine-tune (Eckart and Young 1936): of each matrix' change the first k singular values and
 * vectors, B = U sqrt(S), A = sqrt(S) VT, factor 1. Scoring it against k says what the rest of the change was good for. */
#ifndef LETHE_ANALYSIS_EXTRACT_H
#define LETHE_ANALYSIS_EXTRACT_H

#include "analysis/delta.h"

typedef struct ExtractOptions {
    const char *base, *tuned;
    const char *out; /* a PEFT folder, which must not exist or be empty */
    int64_t rank;    /* of each matrix, where it has as much; 0: by energy */
    double energy;   /* share that each matrix keeps, 0 < energy <= 1 */
} ExtractOptions;

typedef struct ExtractResult {
    size_t n_matrix;             /* that have changed */
    int64_t least_rank, most_rank;
    double energy, kept;         /* of the change of all matrices of the blocks; in the adapter */
    double outside;              /* of the change of embedding and head, which it cannot hold */
} ExtractResult;

/* LT_E_INPUT if nothing has changed, or `tuned` is an adapter already. */
Status extract_adapter(Device *dev, const ExtractOptions *options, ExtractResult *result);

#endif
