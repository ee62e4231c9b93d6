/* The table of the CUDA backend, in the order of backend.h. */
#include "kernels/cuda/slots.h"

const Backend backend_cuda = {
    .name = "cuda",
    .runs_ahead = true,

    .open = cuda_open,
    .close = cuda_close,
    .alloc = cuda_alloc,
    .release = cuda_release,
    .upload = cuda_upload,
    .download = cuda_download,
    .copy = cuda_copy,
    .fill_zero = cuda_fill_zero,
    .sync = cuda_sync,
    .memory = cuda_memory,
    .mark = cuda_mark,
    .elapsed = cuda_elapsed,
    .record_begin = cuda_record_begin,
    .record_end = cuda_record_end,
    .replay = cuda_replay,
    .record_free = cuda_record_free,

    .gemm = cuda_gemm,
    .embed = cuda_embed,
    .embed_grad = cuda_embed_grad,
    .gather = cuda_gather,
    .scatter = cuda_scatter,
    .bias_grad = cuda_bias_grad,

    .rmsnorm = cuda_rmsnorm,
    .rmsnorm_grad = cuda_rmsnorm_grad,
    .rope = cuda_rope,
    .swiglu = cuda_swiglu,
    .swiglu_grad = cuda_swiglu_grad,
    .dropout = cuda_dropout,
    .axpy = cuda_axpy,
    .sub = cuda_sub,
    .scale = cuda_scale,
    .cast = cuda_cast,

    .attn = cuda_attn,
    .attn_grad = cuda_attn_grad,
    .kv_write = cuda_kv_write,
    .attn_cached = cuda_attn_cached,

    .xent = cuda_xent,
    .logprob = cuda_logprob,
    .argmax = cuda_argmax,
    .sample = cuda_sample,

    .sumsq = cuda_sumsq,
    .adamw = cuda_adamw,
    .lion = cuda_lion,

    .gram_values = cuda_gram_values,
    .svd_values = cuda_svd_values,
    .svd = cuda_svd,
    .qr = cuda_qr,
};
