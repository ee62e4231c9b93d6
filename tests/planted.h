/* A planted world: a base and a fine-tune on disk whose change is known, in any stored types, with masters or without. */
#ifndef LETHE_TESTS_PLANTED_H
#define LETHE_TESTS_PLANTED_H

#include "analysis/delta.h"
#include "tests/saved.h"

enum { PLANTED_SIDE = 128, PLANTED_ENTRIES = PLANTED_SIDE * PLANTED_SIDE, PLANTED_RANK = 16 };

/* A change [m,n] of rank PLANTED_RANK whose entries have this root mean square. */
void planted_change(double *d, int64_t m, int64_t n, double rms, uint64_t seed);
double planted_round(double x, DType dtype);

/* How one fine-tune came about. */
typedef struct PlantedCell {
    DType base, tuned;  /* stored as */
    bool base_masters;  /* the base's are kept */
    bool from_masters;  /* and training began at them, else at what is stored */
    bool cast;          /* before training, to the tuned type */
    bool masters;       /* the fine-tune's are kept */
    double rms, spread; /* of the change; share of its energy that is noise in all directions, learned as the rest is */
} PlantedCell;

typedef struct Planted {
    const char *base, *folder;
    Model *model;
    SavedTensors tensors;
    double w[PLANTED_ENTRIES], d[PLANTED_ENTRIES], value[PLANTED_ENTRIES]; /* before storing; the change; what delta_read makes of it */
    uint16_t narrow[PLANTED_ENTRIES];
    float wide[PLANTED_ENTRIES];
} Planted;

Planted *planted_open(Device *dev);
void planted_close(Planted *p);
/* Writes both folders, reads the change back into value. */
void planted_run(Planted *p, const PlantedCell *c, DeltaFacts *facts);

#endif
