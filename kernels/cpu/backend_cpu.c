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
#if CPU_X86
    .gemm_pack_bytes = cpu_gemm_pack_bytes,
    .gemm_pack = cpu_gemm_pack,
#endif
    .embed = cpu_embed,
    .embed_grad = cpu_embed_grad,
    .gather = cpu_gather,
    .scatter = cpu_scatter,
    .bias_grad = cpu_bias_grad,

    .rmsnorm = cpu_rmsnorm,
    .rmsnorm_grad = cpu_rmsnorm_grad,
    .rope = cpu_rope,
    .swiglu = cpu_swiglu,
    .swiglu_grad = cpu_swiglu_grad,
    .dropout = cpu_dropout,
    .axpy = cpu_axpy,
    .sub = cpu_sub,
    .scale = cpu_scale,
    .cast = cpu_cast,

    .attn = cpu_attn,
    .attn_grad = cpu_attn_grad,
    .kv_write = cpu_kv_write,
    .attn_cached = cpu_attn_cached,

    .xent = cpu_xent,
    .logprob = cpu_logprob,
    .argmax = cpu_argmax,
    .sample = cpu_sample,

    .sumsq = cpu_sumsq,
    .adamw = cpu_adamw,
    .lion = cpu_lion,

    .gram_values = cpu_gram_values,
    .svd_values = cpu_svd_values,
    .svd = cpu_svd,
    .qr = cpu_qr,
};
