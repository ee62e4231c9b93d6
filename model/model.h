/* Private to model/: the parts of making a Model that loading and random initialisation share, and its digest. */
#ifndef LETHE_MODEL_MODEL_H
#define LETHE_MODEL_MODEL_H

#include "model/checkpoint.h"

/* A Model with parameter list, weight memory (not filled), layer views and rotary tables. model_free frees it. */
Status model_create(Model **out, Device *dev, const ModelConfig *cfg, DType dtype, int64_t max_position);

/* A checkpoint's digest from those of its weight files, in the set's order. */
Status digest_of_files(const Checkpoint *ckpt, const Digest *file, Digest *out);

#endif
