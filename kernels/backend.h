/* Private to kernels/: the table every backend fills, one slot an op of ops.h, and the device behind it.
 * Slots are called with checked arguments (the front doors in ops_*.c); a NULL slot is an op the backend does not have yet and the
 * front door answers LT_E_UNSUPPORTED. Sizes of zero never reach a slot. */
#ifndef LETHE_KERNELS_BACKEND_H
#define LETHE_KERNELS_BACKEND_H

#include "kernels/ops.h"

typedef struct Backend {
    const char *name;
    bool runs_ahead; /* device_runs_ahead */

    /* device; all of these must be there */
    Status (*open)(Device *dev, const char *index, int n_thread);
    void (*close)(Device *dev);
    Status (*alloc)(Device *dev, size_t bytes, void **out);
    void (*release)(Device *dev, void *block);
    Status (*upload)(Device *dev, Tensor to, const void *from);
    Status (*download)(Device *dev, void *to, Tensor from);
    Status (*copy)(Device *dev, Tensor to, Tensor from);
    Status (*fill_zero)(Device *dev, Tensor t);
    Status (*sync)(Device *dev);
    Status (*memory)(Device *dev, size_t *free_bytes, size_t *total_bytes);
    Status (*mark)(Device *dev, int slot);
    Status (*elapsed)(Device *dev, int from, int to, double *seconds);
    /* recording; a backend that cannot leaves all four out */
    Status (*record_begin)(Device *dev);
    Status (*record_end)(Device *dev, Status recorded, DeviceRecord **out);
    Status (*replay)(Device *dev, DeviceRecord *record);
    void (*record_free)(Device *dev, DeviceRecord *record);

    /* dense */
    Status (*gemm)(Device *dev, const GemmArgs *args);
    size_t (*gemm_pack_bytes)(Device *dev, Tensor w, GemmClass phase);
    Status (*gemm_pack)(Device *dev, Tensor packed, Tensor w, GemmClass phase);
    Status (*embed)(Device *dev, Tensor y, Tensor w, Tensor id);
    Status (*embed_grad)(Device *dev, Tensor dw, Tensor dy, Tensor id, Tensor first, Tensor order);
    Status (*gather)(Device *dev, Tensor y, Tensor x, Tensor row);
    Status (*scatter)(Device *dev, Tensor x, Tensor y, Tensor row);
    Status (*bias_grad)(Device *dev, Tensor db, Tensor dy);

    /* block */
    Status (*rmsnorm)(Device *dev, Tensor y, Tensor rstd, Tensor x, Tensor w, float eps);
    Status (*rmsnorm_grad)(Device *dev, Tensor dx, Tensor dw, Tensor dy, Tensor x, Tensor w, Tensor rstd, float beta);
    Status (*rope)(Device *dev, Tensor x, Tensor cos, Tensor sin, Tensor row, int direction);
    Status (*swiglu)(Device *dev, Tensor y, Tensor gate_up);
    Status (*swiglu_grad)(Device *dev, Tensor dgate_up, Tensor dy, Tensor gate_up);
    Status (*dropout)(Device *dev, Tensor y, Tensor x, float p, const DropoutKey *key);
    Status (*axpy)(Device *dev, Tensor y, Tensor x, float alpha);
    Status (*sub)(Device *dev, Tensor y, Tensor a, Tensor b);
    Status (*scale)(Device *dev, Tensor y, float alpha);
    Status (*cast)(Device *dev, Tensor y, Tensor x);

    /* attention */
    Status (*attn)(Device *dev, const AttnArgs *args);
    Status (*attn_grad)(Device *dev, const AttnGradArgs *args); /* dq, dk, dv are zero already */
    Status (*kv_write)(Device *dev, Tensor k_pages, Tensor v_pages, Tensor k, Tensor v, Tensor slot);
    Status (*attn_cached)(Device *dev, const AttnCachedArgs *args);

    /* loss and choice */
    Status (*xent)(Device *dev, Tensor loss, Tensor dlogits, Tensor logits, Tensor target, Tensor weight);
    Status (*logprob)(Device *dev, Tensor lp, Tensor best, Tensor logits, Tensor row, Tensor target);
    Status (*argmax)(Device *dev, Tensor id, Tensor logits);
    Status (*sample)(Device *dev, Tensor id, Tensor lp, Tensor logits, Tensor params);

    /* training */
    Status (*sumsq)(Device *dev, Tensor out, Tensor x);
    Status (*adamw)(Device *dev, const OptimArgs *args);
    Status (*lion)(Device *dev, const OptimArgs *args);

    /* decompositions: of a finite matrix that is not empty. The front door looks at a before and checks the result after, and makes op_svd_topk of gemm,
     * qr and svd. gram_values: ascending and unclamped, as they come. */
    Status (*gram_values)(Device *dev, double *lambda, Tensor a);
    Status (*svd_values)(Device *dev, double *sigma, Tensor a);
    Status (*svd)(Device *dev, Tensor u, double *sigma, Tensor vt, Tensor a);
    Status (*qr)(Device *dev, Tensor q, Tensor r, Tensor a);
} Backend;

struct Device {
    const Backend *table;
    void *impl;            /* the backend's own state */
    Pool *pool;
    char class_name[32];
    char description[160];
    GemmMeter meter;
};

/* The backends; device.c lists those of this build. */
extern const Backend backend_cpu, backend_cuda;

#endif
