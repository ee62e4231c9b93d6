#include "eval/score/metrics.h"

#include "core/utf8.h"

#include <math.h>

/* First maximum, as numpy's argmax: a later equal value does not win. */
static int argmax(const double *x, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

static double margin_of(const double *x, int n, int best)
{
    double second = -HUGE_VAL;
    for (int i = 0; i < n; i++)
        if (i != best && x[i] > second)
            second = x[i];
    return n > 1 ? x[best] - second : 0.0;
}

ChoiceScore choice_score(const Doc *doc, const ScoreRecord *r)
{
    double by_chars[TASK_MAX_CHOICES], by_bytes[TASK_MAX_CHOICES];
    ChoiceScore s = {.pred = argmax(r->loglik, r->n_choice)};

    /* An empty choice has length 0, where lm-eval divides by it and gets -inf (or NaN, never chosen); -inf loses alike. */
    for (int i = 0; i < r->n_choice; i++) {
        const size_t chars = utf8_count(doc->choice[i]), bytes = doc->choice[i].len;
        by_chars[i] = chars > 0 ? r->loglik[i] / (double)chars : -HUGE_VAL;
        by_bytes[i] = bytes > 0 ? r->loglik[i] / (double)bytes : -HUGE_VAL;
    }
    s.pred_norm = argmax(by_chars, r->n_choice);
    s.pred_bytes = argmax(by_bytes, r->n_choice);
    s.margin = margin_of(r->loglik, r->n_choice, s.pred);
    s.acc = s.pred == doc->gold ? 1.0 : 0.0;
    s.acc_norm = s.pred_norm == doc->gold ? 1.0 : 0.0;
    s.acc_bytes = s.pred_bytes == doc->gold ? 1.0 : 0.0;
    return s;
}

double choice_metric(const ChoiceScore *s, const char *metric)
{
    if (strcmp(metric, "acc") == 0)
        return s->acc;
    if (strcmp(metric, "acc_norm") == 0)
        return s->acc_norm;
    BUG_IF(strcmp(metric, "acc_bytes") != 0);
    return s->acc_bytes;
}

MetricSummary metric_summary(const char *metric, const double *value, size_t n)
{
    uint64_t hits = 0;
    for (size_t i = 0; i < n; i++)
        hits += value[i] != 0.0;
    return (MetricSummary){
        .metric = metric,
        .n = n,
        .value = stat_mean(value, n),
        .stderr_mean = stat_stderr(value, n), /* not from p: lm-eval's last digits are those of the items' deviations */
        .ci = stat_wilson(hits, n, STAT_Z95),
    };
}
