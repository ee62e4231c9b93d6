/* Private to kernels/cpu: the CPU device, its instruction levels, scratch memory, and every slot function of its table.
 *
 * Vector code, the usual way: the loop is written once as `static inline __attribute__((always_inline))` plain C that the compiler
 * vectorises, and thin wrappers with a TARGET_ attribute instantiate it; the slot picks a wrapper by cpu_of(dev)->level. The
 * build itself stays at the baseline of the architecture, so one binary serves all machines. ISO mode keeps a * b + c as
 * two roundings: where a fused one is meant, write __builtin_fmaf, and only in code that runs at CPU_AVX2 and up. */
#ifndef LETHE_KERNELS_CPU_CPU_H
#define LETHE_KERNELS_CPU_CPU_H

#include "kernels/backend.h"

/* Each level has what the one before it has. A result may depend on the level (it is part of the device class), so an op
 * decides by it and by nothing else the processor may offer. */
typedef enum CpuLevel { CPU_GENERIC, CPU_AVX2, CPU_AVX512, CPU_AVX512_BF16, CPU_LEVELS } CpuLevel;

#if defined(__x86_64__)
#define CPU_X86 1
#define CPU_TARGET_AVX512_ "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,prefer-vector-width=512"
#define TARGET_AVX2 __attribute__((target("avx2,fma,f16c")))
#define TARGET_AVX512 __attribute__((target(CPU_TARGET_AVX512_)))
#define TARGET_AVX512_BF16 __attribute__((target(CPU_TARGET_AVX512_ ",avx512bf16")))
#else /* level stays CPU_GENERIC; the wrappers still compile */
#define CPU_X86 0
#define TARGET_AVX2
#define TARGET_AVX512
#define TARGET_AVX512_BF16
#endif

typedef struct CpuScratch {
    void *block;
    size_t bytes;
    char apart[64 - sizeof(void *) - sizeof(size_t)]; /* neighbours would share a cache line */
} CpuScratch;

typedef struct CpuDevice {
    CpuLevel level;
    int n_thread;
    CpuScratch *scratch;     /* [n_thread] */
    struct GemmState *gemm;  /* kernels/cpu/gemm.h */
    struct Lapack *lapack;   /* kernels/cpu/lapack.h; opened by its first use */
    double mark[8];          /* seconds, for device_elapsed */
} CpuDevice;

static inline CpuDevice *cpu_of(const Device *dev) { return dev->impl; }

/* "generic", "avx2", "avx512", "avx512-bf16". */
const char *cpu_level_name(CpuLevel level);

/* At least `bytes` bytes, 64-byte aligned, for pool thread `thread` until the end of its task (an op's own thread outside pool_run
 * is thread 0). Holds what the last user left. Grown on demand and kept until the device closes. NULL with the text recorded
 * (return LT_E_NOMEM). One block a thread: a second call gives the same block, larger if need be. */
void *cpu_scratch(Device *dev, int thread, size_t bytes);

/* Device slots: device_cpu.c */
Status cpu_open(Device *dev, const char *index, int n_thread);
void cpu_close(Device *dev);
Status cpu_alloc(Device *dev, size_t bytes, void **out);
void cpu_release(Device *dev, void *block);
Status cpu_upload(Device *dev, Tensor to, const void *from);
Status cpu_download(Device *dev, void *to, Tensor from);
Status cpu_copy(Device *dev, Tensor to, Tensor from);
Status cpu_fill_zero(Device *dev, Tensor t);
Status cpu_sync(Device *dev);
Status cpu_memory(Device *dev, size_t *free_bytes, size_t *total_bytes);
Status cpu_mark(Device *dev, int slot);
Status cpu_elapsed(Device *dev, int from, int to, double *seconds);

/* Op slots, in the order of backend.h. */
Status cpu_gemm(Device *dev, const GemmArgs *args);
size_t cpu_gemm_pack_bytes(Device *dev, Tensor w, GemmClass phase);
Status cpu_gemm_pack(Device *dev, Tensor packed, Tensor w, GemmClass phase);
Status cpu_embed(Device *dev, Tensor y, Tensor w, Tensor id);
Status cpu_embed_grad(Device *dev, Tensor dw, Tensor dy, Tensor id, Tensor first, Tensor order);
Status cpu_gather(Device *dev, Tensor y, Tensor x, Tensor row);
Status cpu_scatter(Device *dev, Tensor x, Tensor y, Tensor row);
Status cpu_bias_grad(Device *dev, Tensor db, Tensor dy);

Status cpu_rmsnorm(Device *dev, Tensor y, Tensor rstd, Tensor x, Tensor w, float eps);
Status cpu_rmsnorm_grad(Device *dev, Tensor dx, Tensor dw, Tensor dy, Tensor x, Tensor w, Tensor rstd, float beta);
Status cpu_rope(Device *dev, Tensor x, Tensor cos, Tensor sin, Tensor row, int direction);
Status cpu_swiglu(Device *dev, Tensor y, Tensor gate_up);
Status cpu_swiglu_grad(Device *dev, Tensor dgate_up, Tensor dy, Tensor gate_up);
Status cpu_dropout(Device *dev, Tensor y, Tensor x, float p, const DropoutKey *key);
Status cpu_axpy(Device *dev, Tensor y, Tensor x, float alpha);
Status cpu_sub(Device *dev, Tensor y, Tensor a, Tensor b);
Status cpu_scale(Device *dev, Tensor y, float alpha);
Status cpu_cast(Device *dev, Tensor y, Tensor x);

Status cpu_attn(Device *dev, const AttnArgs *args);
Status cpu_attn_grad(Device *dev, const AttnGradArgs *args);
Status cpu_kv_write(Device *dev, Tensor k_pages, Tensor v_pages, Tensor k, Tensor v, Tensor slot);
Status cpu_attn_cached(Device *dev, const AttnCachedArgs *args);

Status cpu_xent(Device *dev, Tensor loss, Tensor dlogits, Tensor logits, Tensor target, Tensor weight);
Status cpu_logprob(Device *dev, Tensor lp, Tensor best, Tensor logits, Tensor row, Tensor target);
Status cpu_argmax(Device *dev, Tensor id, Tensor logits);
Status cpu_sample(Device *dev, Tensor id, Tensor lp, Tensor logits, Tensor params);

Status cpu_sumsq(Device *dev, Tensor out, Tensor x);
Status cpu_adamw(Device *dev, const OptimArgs *args);
Status cpu_lion(Device *dev, const OptimArgs *args);

Status cpu_gram_values(Device *dev, double *lambda, Tensor a);
Status cpu_svd_values(Device *dev, double *sigma, Tensor a);
Status cpu_svd(Device *dev, Tensor u, double *sigma, Tensor vt, Tensor a);
Status cpu_qr(Device *dev, Tensor q, Tensor r, Tensor a);

#endif
