/* What fine-tuning changed, matrix by matrix: tuned - base, or the factors of an adapter.
 *
 * Matrices are matched by their exact names, and differences are taken in F64 of F32 masters where there are any, else of the stored values.
 * - Base cast. A base that is stored in another type than its tunes (Llama 2: F16, its tunes BF16) was cast before training, or was not. If it was, its
 *   rounding would look like a change of high rank without the same cast; if it was not, with it. DELTA_CAST_AUTO decides once for a checkpoint: it
 *   casts where that makes the difference smaller and, without masters, more entries exactly equal. (More are equal by chance too, where a change is below
 *   a unit in the last place; but energy goes up by that of the base's rounding where the cast is wrong, and down by it where it is right.) By the same
 *   energy it takes what a base with masters is stored as, where training began there.
 * - Noise: the energy of the rounding that the stored types left in the difference (analysis/rounding.h). It is the tuned side's; and where AUTO was not to
 *   find out where training began, the base's too if it has masters, is not cast and the tuned side has none: its masters may not be what was trained.
 * - An adapter's change is s B A exactly, from its factors: no rounding, and a rank of at most r. */
#ifndef LETHE_ANALYSIS_DELTA_H
#define LETHE_ANALYSIS_DELTA_H

#include "analysis/matrix_folder.h"
#include "model/factors.h"

typedef enum DeltaOf { DELTA_OF_DELTA, DELTA_OF_WEIGHTS } DeltaOf; /* weights: the tuned matrix itself */
typedef enum DeltaCast { DELTA_CAST_AUTO, DELTA_CAST_NONE, DELTA_CAST_BF16, DELTA_CAST_F16 } DeltaCast;

typedef struct DeltaSettings {
    DeltaOf of;
    DeltaCast cast;
    bool exact; /* trained in the stored type: nothing was rounded on saving */
} DeltaSettings;

typedef struct DeltaPair {
    const MatrixFolder *base; /* the caller's */
    MatrixFolder tuned;
    Factors *factors;         /* NULL: not an adapter */
    DeltaSettings settings;
    bool casts, stored;       /* what AUTO has come to: the base is cast to what the tuned matrix is stored in; its stored values stand, not its masters */
} DeltaPair;

/* tuned: a model, or an adapter of that base. */
Status delta_open(DeltaPair *pair, const MatrixFolder *base, const char *tuned, const DeltaSettings *settings);
/* A zeroed struct is allowed. */
void delta_close(DeltaPair *pair);

/* Whether there is a matrix to look at: an adapter changes some only. */
bool delta_has(const DeltaPair *pair, const ParamEntry *entry);
/* Whether the change is a product of factors (A; B is behind it), else NULL: then delta_read gives it. */
const ParamEntry *delta_factors(const DeltaPair *pair, const ParamEntry *entry);
/* LT_E_INPUT if a matrix of the list is missing on one side or its shape differs: all of them in one line. */
Status delta_check(const DeltaPair *pair, const ParamEntry *const *entry, size_t n);

typedef struct DeltaFacts {
    DType dtype, base_dtype; /* of the values: F32 where there are masters */
    DeltaCast cast;          /* what was done: never AUTO */
    double zero_share;       /* of entries that are exactly zero; of a product, those that are whatever the other factor is */
    double noise;            /* energy, not share */
    double base_fro;         /* |W base|_F, cast or not */
} DeltaFacts;
/* "none", "bf16", "f16". */
const char *delta_cast_name(DeltaCast cast);

/* value: rows x cols of the entry, F64; not touched, and may be NULL, for a product. LT_E_INPUT for NaN and infinity. */
Status delta_read(const DeltaPair *pair, const ParamEntry *entry, double *value, DeltaFacts *facts);

/* The base's matrix, cast as delta_read said. */
Status delta_read_base(const DeltaPair *pair, const ParamEntry *entry, DeltaCast cast, double *value);

/* Everything that a result of delta_read depends on, as text: contents and settings, no names of files. */
Status delta_identity(const DeltaPair *pair, const ParamEntry *entry, FileHashMode mode, StrBuf *out);

#endif
