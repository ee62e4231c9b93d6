/* An F64 matrix of the host's where the device's ops can reach it: in place, or as a copy. */
#ifndef LETHE_ANALYSIS_MATRIX_DEVICE_H
#define LETHE_ANALYSIS_MATRIX_DEVICE_H

#include "kernels/device.h"

typedef struct OnDevice {
    Tensor t;
    double *host;
    void *block; /* NULL: t is the host's memory */
} OnDevice;

/* host: rows x cols, contiguous, copied if need be; on_device_drop in any case. */
Status on_device_put(OnDevice *out, Device *dev, double *host, int64_t rows, int64_t cols);
/* Brings what ops have written back to the host. */
Status on_device_get(OnDevice *m, Device *dev);
/* A zeroed struct is allowed. */
void on_device_drop(OnDevice *m, Device *dev);

#endif
