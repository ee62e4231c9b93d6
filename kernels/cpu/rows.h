/* Private to kernels/cpu: ops whose rows have nothing to do with one another. */
#ifndef LETHE_KERNELS_CPU_ROWS_H
#define LETHE_KERNELS_CPU_ROWS_H

#include "kernels/cpu/cpu.h"

/* Rows from..to-1 of an op. */
typedef void (*RowsBody)(const void *args, int64_t from, int64_t to);

/* Runs the body of the device's level over n_row rows in blocks whose size depends on `elements`, what a row costs, alone. */
Status rows_run(Device *dev, const RowsBody body[CPU_LEVELS], const void *args, int64_t n_row, int64_t elements);

#endif
