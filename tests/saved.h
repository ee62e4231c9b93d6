/* Model folders for tests: random models saved, their tensors changed and written again, and loaded. */
#ifndef LETHE_TESTS_SAVED_H
#define LETHE_TESTS_SAVED_H

#include "kernels/device.h"
#include "model/checkpoint.h"

Device *saved_device(int n_thread);
/* A random model with norms and biases that matter, saved; the folder. */
const char *saved_model(Device *dev, const ModelConfig *cfg, DType dtype, uint64_t seed, Model **model);
/* Opens and loads, hashing afresh. */
Status saved_load(Model **out, Device *dev, const char *folder, DType dtype);
bool saved_same(const Model *a, const Model *b);

/* The tensors of a model as the writer takes them, for tests that change one before writing. */
typedef struct SavedTensors {
    StWrite item[64];
    char name[64][96];
    size_t count;
} SavedTensors;

void saved_collect(SavedTensors *t, const Model *m);
StWrite *saved_item(SavedTensors *t, const char *name);
void saved_write(const SavedTensors *t, const char *folder, const char *name);

#endif
