/* A small model and fine-tunes of it, made up, as folders. */
#ifndef LETHE_TESTS_MADE_TUNES_H
#define LETHE_TESTS_MADE_TUNES_H

#include "tests/saved.h"

typedef struct MadeTunes {
    const char *base;
    char a[1024], b[1024]; /* BASE/a, BASE/b: noise of 0.01, and of 0.02 more, on every weight */
    Model *model;          /* model_free */
    SavedTensors tensors;  /* the model's, as b has them */
} MadeTunes;

void made_tunes(MadeTunes *made, Device *dev);
/* Adds noise of this size to the tensors and writes them as BASE/name; path: room for 1024 bytes. */
void made_tunes_write(MadeTunes *made, char *path, const char *name, double size);

#endif
