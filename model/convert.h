/* Arrays of weights from one dtype to another, and the search for values no weight may have. F32, BF16 and F16. */
#ifndef LETHE_MODEL_CONVERT_H
#define LETHE_MODEL_CONVERT_H

#include "kernels/tensor.h"

/* Index of the first NaN or infinity, -1 if there is none. */
int64_t weights_first_bad(const void *data, DType dtype, int64_t n);
float weights_at(const void *data, DType dtype, int64_t i);
/* to[i] = from[i], rounded to nearest even. *lossy is set (never cleared) where a value changed. */
void weights_convert(void *to, DType to_dtype, const void *from, DType from_dtype, int64_t n, bool *lossy);

#endif
