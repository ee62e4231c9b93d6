#include "kernels/cpu/cpu.h"

const Backend backend_cpu = {
    .name = "cpu",

    .open = cpu_open,
    .close = cpu_close,
    .alloc = cpu_alloc,
    .release = cpu_release,
    .upload = cpu_upload,
    .download = cpu_download,
    .copy = cpu_copy,
    .fill_zero = cpu_fill_zero,
    .sync = cpu_sync,
    .memory = cpu_memory,
    .mark = cpu_mark,
    .elapsed = cpu_elapsed,

    .gemm = cpu_gemm,
    .gemm_pack_bytes = cpu_gemm_pack_bytes,
};
