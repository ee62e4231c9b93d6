/* What the verbs that run a model share: the common options made into a device and a type. */
#ifndef LETHE_CLI_COMMON_H
#define LETHE_CLI_COMMON_H

#include "cli/options.h"
#include "kernels/device.h"

/* Opens --device with --threads and resolves --dtype on it. */
Status common_open(Device **dev, DType *dtype, const CommonOptions *common);
/* The first SIGINT or SIGTERM lets the running pass finish and ends the engine's run, or lets the matrix at hand finish and ends that of a spectrum; the
 * second one, no longer caught, ends the process. */
Status common_catch_signals(void);

#endif
