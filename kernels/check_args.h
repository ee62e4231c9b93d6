/* Private to the front doors (kernels/ops_*.c): the checks they share. A message names the op, the argument, what was
 * expected and what was found. */
#ifndef LETHE_KERNELS_CHECK_ARGS_H
#define LETHE_KERNELS_CHECK_ARGS_H

#include "kernels/backend.h"

/* Sets of dtypes. */
enum {
    DT_F32 = 1 << LT_F32,
    DT_BF16 = 1 << LT_BF16,
    DT_F16 = 1 << LT_F16,
    DT_F64 = 1 << LT_F64,
    DT_I32 = 1 << LT_I32,
    DT_U16 = 1 << LT_U16,
    DT_TRAIN = DT_F32 | DT_BF16,          /* activations that have gradients */
    DT_ACTIVATION = DT_TRAIN | DT_F16,
    DT_WIDE = DT_F32 | DT_F64,            /* decompositions */
};

/* Stands for "any" where check_tensor takes a number of rows or columns. */
enum { ANY_SIZE = -1 };

/* Before anything else: an op that the backend lacks is said to be lacking, whatever the arguments. */
#define CHECK_SLOT(dev, slot)                                                                                          \
    do {                                                                                                               \
        if ((dev)->table->slot == NULL)                                                                                \
            return FAIL(LT_E_UNSUPPORTED, "the %s backend has no kernel for " #slot, (dev)->table->name);              \
    } while (0)

/* t has one of the dtypes and this shape, its stride fits, and there is memory behind it unless it is empty.
 * A dtype the op knows nowhere is LT_E_FAIL too: whether a backend has a kernel for one it does know is the kernel's to say. */
Status check_tensor(const char *op, const char *name, Tensor t, unsigned dtypes, int64_t rows, int64_t cols);
/* The same for a tensor that may be left out by leaving it zero. */
Status check_optional(const char *op, const char *name, Tensor t, unsigned dtypes, int64_t rows, int64_t cols);
/* Nothing to do: an empty tensor. */
static inline bool is_empty(Tensor t) { return t.rows == 0 || t.cols == 0; }
/* An unknown dtype is in no set. */
static inline unsigned same_dtype(Tensor t) { return (unsigned)t.dtype < LT_DTYPES ? 1u << t.dtype : 0; }

#endif
