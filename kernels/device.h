/* Devices: where tensors live and ops run. One process may hold several, of both backends.
 *
 * Ops on one device run in the order they were called. On CUDA they may still be running when the call returns; transfers
 * and device_sync wait. A device is used by one thread at a time. */
#ifndef LETHE_KERNELS_DEVICE_H
#define LETHE_KERNELS_DEVICE_H

#include "core/pool.h"
#include "kernels/tensor.h"

/* name: "cpu", "cuda", "cuda:N", "auto" (the GPU with most free memory, else the CPU). n_thread 0: all processors.
 * An unknown name is LT_E_USAGE; one that is not in this build or not on this machine is LT_E_DEVICE, with the reason.
 * The environment variable LETHE_CPU = generic | avx2 | avx512 | avx512-bf16 lowers what the CPU backend uses, for tests. */
Status device_open(Device **out, const char *name, int n_thread);
void device_close(Device *dev);

/* What results may depend on: "cpu-generic", "cpu-avx2", "cpu-avx512", "cpu-avx512-bf16", "sm_90", ... Part of a score's key. */
const char *device_class(const Device *dev);
/* For people: "AMD EPYC, 2 threads, avx512-bf16, oneDNN 2.6.3". */
const char *device_description(const Device *dev);
const char *device_backend(const Device *dev); /* "cpu", "cuda" */
/* Whether ops may still be at work when their call returns, so that the host can do something else meanwhile. */
bool device_runs_ahead(const Device *dev);
/* The device's thread pool (host work of the model may use it between ops). */
Pool *device_pool(const Device *dev);

Status device_alloc(Device *dev, size_t bytes, void **out); /* 256-byte aligned, not zeroed */
void device_release(Device *dev, void *block);
Status device_upload(Device *dev, Tensor to, const void *from); /* from: rows x cols, contiguous, host */
Status device_download(Device *dev, void *to, Tensor from);
Status device_copy(Device *dev, Tensor to, Tensor from); /* same shape and dtype */
Status device_fill_zero(Device *dev, Tensor t);
Status device_sync(Device *dev);
Status device_memory(Device *dev, size_t *free_bytes, size_t *total_bytes);
/* Seconds of device work between two marks (CUDA events; the clock on the CPU). */
Status device_mark(Device *dev, int slot /* 0..7 */);
Status device_elapsed(Device *dev, int from, int to, double *seconds);

/* Recording: what is called between begin and end is written down, not done; device_replay does all of it, again and again, for the cost of one
 * call. Ops keep the tensors they were given, so whoever replays changes what lies in them. No transfer, allocation or wait may come in between,
 * and every op has run once before (it may want a larger workspace the first time): else begin..end fails and records nothing.
 * Where the backend cannot record (the CPU, where a call costs nothing) device_record_begin is LT_E_UNSUPPORTED; ask first. */
typedef struct DeviceRecord DeviceRecord;
bool device_can_record(const Device *dev);
Status device_record_begin(Device *dev);
/* Ends the recording in any case. recorded: how the calls in between went; unless LT_OK nothing is kept and the same comes back. */
Status device_record_end(Device *dev, Status recorded, DeviceRecord **out);
Status device_replay(Device *dev, DeviceRecord *record);
void device_record_free(Device *dev, DeviceRecord *record);

/* Share of time in GEMM since the last reset, for benchmarks: seconds inside op_gemm, and its floating-point operations.
 * Off (zeros) unless switched on. */
typedef struct GemmMeter {
    bool on;
    double seconds, flops;
    uint64_t calls;
} GemmMeter;
GemmMeter *device_gemm_meter(Device *dev);

#endif
