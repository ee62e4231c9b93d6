/* From an item's log-likelihoods to its metrics, and from items to a score with its error. */
#ifndef LETHE_EVAL_SCORE_METRICS_H
#define LETHE_EVAL_SCORE_METRICS_H

#include "core/stat.h"
#include "eval/score/record.h"

/* acc: argmax of the sums is gold. acc_norm: of sum / code points of the choice. acc_bytes: of sum / UTF-8 bytes. First maximum wins. */
typedef struct ChoiceScore {
    int pred, pred_norm, pred_bytes;
    double margin;      /* best sum minus second best */
    double acc, acc_norm, acc_bytes;
} ChoiceScore;
ChoiceScore choice_score(const Doc *doc, const ScoreRecord *r);
/* The metric's value of that item, by name: "acc", "acc_norm", "acc_bytes". */
double choice_metric(const ChoiceScore *s, const char *metric);

typedef struct MetricSummary {
    const char *metric;
    uint64_t n;
    double value, stderr_mean;
    Interval ci; /* Wilson, 95 % */
} MetricSummary;
MetricSummary metric_summary(const char *metric, const double *value, size_t n);

#endif
