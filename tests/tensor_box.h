/* Tensors for tests of ops: with a stride, guard zones on all sides, and contents that start as NaN; and the devices to run them on. */
#ifndef LETHE_TESTS_TENSOR_BOX_H
#define LETHE_TESTS_TENSOR_BOX_H

#include "kernels/ops.h"
#include "tests/check.h"

/* Opens the CPU at a level with n_thread threads, or for "cuda" the device that LETHE_TEST_DEVICE names; NULL where this machine does not reach
 * the level (it would be a lower one again) or no other device is to be tested. */
enum { N_BOX_LEVEL = 5 };
extern const char *const BOX_LEVELS[N_BOX_LEVEL];
Device *box_device(const char *level, int n_thread);

/* The same matrix on the device (t, row padding and guards included) and on the host (v, rows x cols, as the device's dtype holds it). */
typedef struct Box {
    Tensor t;
    double *v;
    Device *dev;
    unsigned char *block; /* device */
    size_t bytes;
} Box;

/* Every element NaN (I32: -1), on both sides. pad: stride - cols. */
Box box_new(Device *dev, DType dtype, int64_t rows, int64_t cols, int64_t pad);
/* Normal numbers times scale, rounded to the dtype. */
Box box_normal(Device *dev, DType dtype, int64_t rows, int64_t cols, int64_t pad, TestRandom *r, double scale);
/* A vector of indices. */
Box box_index(Device *dev, const int32_t *value, int64_t n);
/* Rounds v and sends it to the device. */
void box_put(Box *b);
/* Reads the device's elements into v. */
void box_get(Box *b);
/* Checks guards and padding, then frees. */
void box_free(Box *b);

double box_round(DType dtype, double value);
/* What rounding the result alone may cost: a bound on the normalised mean squared error, `exact` for F32. */
double box_tolerance(DType dtype, double exact);
/* sum (got - want)^2 <= tolerance sum want^2; a NaN fails. */
void check_nmse(const char *what, const double *got, const double *want, size_t n, double tolerance);
/* The elements of a and b are the same, bit for bit. */
void check_same(const char *what, const Box *a, const Box *b);

#endif
