/* Matrices of a safetensors file as F64 in host memory, for tests of spectra. */
#ifndef LETHE_TESTS_MATRIX_FILE_H
#define LETHE_TESTS_MATRIX_FILE_H

#include "model/safetensors.h"
#include "tests/check.h"

/* n numbers, zero; mem_free. */
double *matrix_numbers(int64_t n);
/* The F32 tensor of that name, which is there; mem_free. */
double *matrix_of_file(const StFile *file, const char *name, int64_t *rows, int64_t *cols);

#endif
