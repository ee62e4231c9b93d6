/* What is kept of one decomposed matrix in OUT/log/ (framed append logs), from which every table is made again.
 *
 * A record is a JSON object {"spectrum": key, "name", "m", "n", "dtype", "base_dtype", "cast", "zero_share", "noise", "base_fro", "sigma": [..],
 * "subspaces": [[quantity, side, k, index, epsilon, value, chance], ..]}, the last one with --vectors only. Numbers read back bit for bit, those that are not
 * finite as null. Records of one key must agree; two that differ are an alarm, not a choice. */
#ifndef LETHE_ANALYSIS_RUN_RECORD_H
#define LETHE_ANALYSIS_RUN_RECORD_H

#include "analysis/delta.h"
#include "analysis/subspace_report.h"
#include "core/map.h"

typedef struct RunRecord {
    int64_t m, n;
    DeltaFacts facts;
    double *sigma; /* min(m, n), descending */
    SubspaceRows subspaces;
} RunRecord;

Status run_record_write(StrBuf *out, const char *key, const char *name, const RunRecord *r);

typedef struct RunRecords {
    Map index; /* key -> record */
    RunRecord *record;
    size_t count, cap;
    Arena text; /* of their subspaces */
    uint64_t damaged, bytes; /* bytes: of others' logs when they were last read */
} RunRecords;

void run_records_init(RunRecords *records);
/* Reads the logs again if others than `own` (NULL: none) have grown since. LT_E_FAIL if two records of one key disagree. */
Status run_records_refresh(RunRecords *records, const char *log_folder, const char *own);
void run_records_release(RunRecords *records);
/* Copies the record. */
Status run_records_add(RunRecords *records, const char *key, const RunRecord *r);
/* NULL: none. Valid until the next record is added. */
const RunRecord *run_records_find(const RunRecords *records, const char *key);

#endif
