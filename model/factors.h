/* The LoRA factors of an adapter in host memory, F32: what is put on a device, merged into weights, or taken apart. */
#ifndef LETHE_MODEL_FACTORS_H
#define LETHE_MODEL_FACTORS_H

#include "model/adapter_folder.h"

typedef struct Factors {
    ParamList params; /* values: contiguous host memory, A [r, in] and B [out, r] */
    float *memory;
} Factors;

/* Reads the factors that a folder has for this base. LT_E_INPUT as adapter_folder_params, and for NaN and infinity, named by tensor and index. */
Status factors_read(Factors **out, const AdapterFolder *adapter, const ModelConfig *base);
void factors_free(Factors *factors);

/* LT_E_INPUT if B A is zero everywhere, as in an adapter saved before its first step: its scores would be the base's under another name. */
Status factors_refuse_inert(const Factors *factors, const char *path);

/* Whether the weight has factors. */
bool factors_touch(const Factors *factors, const ParamEntry *weight);
/* w[i] += scale (B A)[from + i] for elements from..from+count-1 of a weight [out, in] in rows, with sums in F64. The
 * weight has factors. */
void factors_add(const Factors *factors, const ParamEntry *weight, int64_t from, float *w, int64_t count);

#endif
