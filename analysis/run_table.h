/* The tables of `lethe spectrum`: OUT/ranks.tsv, OUT/spectra.tsv, OUT/spectra/<label>.safetensors, the table on stdout and its JSON form.
 *
 * A label's rows are those of the last command that named it; the rows of other labels stay. */
#ifndef LETHE_ANALYSIS_RUN_TABLE_H
#define LETHE_ANALYSIS_RUN_TABLE_H

#include "analysis/run.h"
#include "analysis/run_record.h"
#include "core/json.h"
#include "core/tsv.h"

/* One checkpoint's matrices, in the order of the model. */
typedef struct RunMatrix {
    const ParamEntry *entry;
    char *name; /* of the tensor */
    DigestHex key;
} RunMatrix;

typedef struct RunResult {
    const SpectraOptions *options;
    const RunName *name;
    const RunMatrix *matrix;
    size_t n_matrix;
    const RunRecords *records; /* all of them */
} RunResult;

/* The rows of ranks.tsv (tsv_release). */
Status run_ranks(Tsv *out, const RunResult *r);

/* Whether OUT has all of it already; else run_publish writes it, values first, ranks last, by one process at a time. */
Status run_published(const RunResult *r, const Tsv *ranks, bool *done);
Status run_publish(const RunResult *r, const Tsv *ranks);

/* For people; ranks that the rounding does not allow stand in parentheses. Appends. */
Status run_table_console(StrBuf *out, const RunResult *r, const Tsv *ranks);
/* {"label", "path", "matrices": [{column: value, ..}, ..]}; json_decref. */
Status run_table_json(json_t **out, const RunResult *r, const Tsv *ranks);

#endif
