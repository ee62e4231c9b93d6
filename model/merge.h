/* An adapter made part of its base: a model folder like any other. */
#ifndef LETHE_MODEL_MERGE_H
#define LETHE_MODEL_MERGE_H

#include "model/variant.h"

/* Writes W + s B A, added in F32 and rounded once to `dtype`, with config.json, the tokenizer's files of the adapter, or of the base if it has
 * none, the base's generation_config.json, and a lethe.json that keeps how the adapter was made, but for its label. The variant is an opened
 * adapter. LT_E_USAGE if `folder` is the base's or the adapter's own. */
Status merge_write(Variant *v, Device *dev, DType dtype, const char *folder);

#endif
