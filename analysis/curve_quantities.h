/* Everything that `lethe curve` says of a panel, as one list of numbers: made from the measured scores for the values, and from each replicate of them
 * for the intervals. */
#ifndef LETHE_ANALYSIS_CURVE_QUANTITIES_H
#define LETHE_ANALYSIS_CURVE_QUANTITIES_H

#include "analysis/curve_points.h"

typedef enum BaseQuantity { BASE_LEARNING, BASE_SOURCE, N_BASE_QUANTITY } BaseQuantity;
typedef enum PointQuantity {
    POINT_LEARNING,
    POINT_SOURCE,
    POINT_FORGETTING,           /* base - source */
    POINT_FORGETTING_RELATIVE,  /* of what the base has above chance; NaN without it */
    POINT_FORGETTING_FROM_BEST, /* from the line's best source score so far */
    POINT_EXCHANGE,             /* forgetting for each point learned; NaN where nothing was */
    POINT_FRONT,                /* 1: no checkpoint of the panel is better in both */
    N_POINT_QUANTITY,
} PointQuantity;
typedef enum LineQuantity {
    LINE_AREA,        /* mean learning score over log2 x */
    LINE_SOURCE_AREA, /* the same of the source score */
    LINE_TO_TARGET,   /* x where learning reaches the target */
    LINE_TO_TARGET_RATIO, /* over that of the one line of method "full" */
    LINE_FORGETTING_AT_TARGET,
    LINE_FORGETTING_SLOPE, /* least squares along the line: points forgotten for each point learned */
    LINE_FORGETTING_R2,    /* the share of forgetting that this explains */
    LINE_HYPERVOLUME,
    LINE_HYPERVOLUME_SHARE, /* of that of all lines together */
    N_LINE_QUANTITY,
} LineQuantity;
extern const char *const curve_base_names[N_BASE_QUANTITY], *const curve_point_names[N_POINT_QUANTITY], *const curve_line_names[N_LINE_QUANTITY];

/* Where a quantity stands in the list: the base's, each point's, each line's, the hypervolume of all lines. */
size_t curve_base_at(BaseQuantity q);
size_t curve_point_at(size_t point, PointQuantity q);
size_t curve_line_at(const CurvePanel *panel, size_t line, LineQuantity q);
size_t curve_union_at(const CurvePanel *panel);
size_t curve_quantity_count(const CurvePanel *panel);

/* What is fixed over all replicates, so that they are replicates of one thing. */
typedef struct CurveTerms {
    double reference_source, reference_learning, target, chance;
    size_t full; /* the line of method "full"; SIZE_MAX: none or several */
    double *x;   /* [n_point] */
    double *forgetting, *drop; /* scratch of n_point */
    size_t *front;
    bool *on;
} CurveTerms;

/* The measured scores: [n_point + 1], the base last. */
void curve_measured(double *learning, double *source, const CurveStudy *study, const CurvePanel *panel);
/* The terms that the options name, else: as reference source the largest multiple of 0.05 below all measured ones, as reference learning the base's, as
 * target the best score that every line reaches. Memory is the study's. */
Status curve_terms(CurveTerms *out, CurveStudy *study, const CurvePanel *panel, const CurveOptions *o, const double *learning, const double *source);
void curve_quantities(double *out, const CurvePanel *panel, const CurveTerms *terms, const double *learning, const double *source);

#endif
