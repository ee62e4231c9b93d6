/* Learning and forgetting of many checkpoints, read from the results.tsv of `lethe score`.
 *
 * A panel is one condition: its own learning score, and the source scores that all panels share. Checkpoints that agree in the columns of a line (method,
 * rank, targets) are one line, in the order of their x (tokens, epochs or steps). The source score is the plain mean over the source tasks. */
#ifndef LETHE_ANALYSIS_CURVE_POINTS_H
#define LETHE_ANALYSIS_CURVE_POINTS_H

#include "core/map.h"
#include "core/tsv.h"

enum { CURVE_MOST_SOURCES = 16, CURVE_MOST_KEYS = 8 };

/* Whatever may differ between conditions is a list of texts, each "VALUE" or "CONDITION=VALUE"; of several that apply the last counts, one with a name
 * before one without. */
typedef struct CurveSettings {
    const char *const *item;
    size_t count;
} CurveSettings;

typedef struct CurveOptions {
    const char *results;     /* folder with results.tsv */
    const char *out;
    CurveSettings learning;  /* TASK:METRIC[:FILTER]; none: the paper's, humaneval or gsm8k */
    CurveSettings reference; /* SOURCE,LEARNING */
    CurveSettings target;    /* a learning score */
    const char *source;      /* TASK:METRIC[:FILTER],... */
    const char *line;        /* column,... */
    const char *base;        /* label; NULL: the one of method "base" */
    const char *x;           /* "tokens", "epochs", "step"; NULL: the first of them that all checkpoints of a condition have */
    double chance;           /* what guessing scores on the mean of the sources; NaN: unknown */
    bool mixed;              /* scores that were measured in different ways may stand in one panel */
    size_t n_draw;           /* 0: no intervals */
    uint64_t seed;
    int threads;
} CurveOptions;

typedef struct ScoreName {
    const char *text, *task, *metric, *filter; /* filter NULL: any */
} ScoreName;

typedef struct CurveScore {
    double value, se; /* se NaN: unknown */
    size_t row;       /* of the table */
} CurveScore;

typedef struct CurvePoint {
    const char *label;
    size_t row; /* the first of the table with this label */
    double x;
    CurveScore score[1 + CURVE_MOST_SOURCES]; /* learning, then the sources */
} CurvePoint;

typedef struct CurveLine {
    size_t first, count; /* points */
} CurveLine;

typedef struct CurvePanel {
    const char *condition, *x_name;
    ScoreName score[1 + CURVE_MOST_SOURCES];
    CurvePoint *point; /* [n_point + 1], by line, then x; the last is the base */
    size_t n_point;
    CurveLine *line;
    size_t n_line;
} CurvePanel;

typedef struct CurveStudy {
    char *path; /* of the table */
    Tsv table;
    Map labels; /* label -> its first row */
    const char *key[CURVE_MOST_KEYS]; /* columns that tell lines apart */
    size_t n_key, n_score;            /* 1 + sources */
    const char *base;
    CurvePanel *panel;
    size_t n_panel;
    Arena arena;
} CurveStudy;

/* LT_E_INPUT with the file, and the column, line or checkpoint in question. *out: curve_study_release, also after a failure. */
Status curve_study_read(CurveStudy *out, const CurveOptions *o);
void curve_study_release(CurveStudy *study);

/* The setting of a condition; NULL if there is none. */
const char *curve_setting(const CurveSettings *settings, const char *condition);
/* A number that is the whole text. */
bool curve_number(const char *text, double *out);

#endif
