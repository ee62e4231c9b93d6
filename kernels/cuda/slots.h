/* Private to kernels/cuda: every slot function of its table, in the order of backend.h. Plain C, so that the table is. */
#ifndef LETHE_KERNELS_CUDA_SLOTS_H
#define LETHE_KERNELS_CUDA_SLOTS_H

#ifdef __cplusplus
extern "C" {
#endif
#include "kernels/backend.h"

/* Device slots: device.cu */
Status cuda_open(Device *dev, const char *index, int n_thread);
void cuda_close(Device *dev);
Status cuda_alloc(Device *dev, size_t bytes, void **out);
void cuda_release(Device *dev, void *block);
Status cuda_upload(Device *dev, Tensor to, const void *from);
Status cuda_download(Device *dev, void *to, Tensor from);
Status cuda_copy(Device *dev, Tensor to, Tensor from);
Status cuda_fill_zero(Device *dev, Tensor t);
Status cuda_sync(Device *dev);
Status cuda_memory(Device *dev, size_t *free_bytes, size_t *total_bytes);
Status cuda_mark(Device *dev, int slot);
Status cuda_elapsed(Device *dev, int from, int to, double *seconds);
Status cuda_record_begin(Device *dev);
Status cuda_record_end(Device *dev, Status recorded, DeviceRecord **out);
Status cuda_replay(Device *dev, DeviceRecord *record);
void cuda_record_free(Device *dev, DeviceRecord *record);

/* Op slots, in the order of backend.h. */
Status cuda_gemm(Device *dev, const GemmArgs *args);
size_t cuda_gemm_pack_bytes(Device *dev, Tensor w, GemmClass phase);
Status cuda_gemm_pack(Device *dev, Tensor packed, Tensor w, GemmClass phase);
Status cuda_embed(Device *dev, Tensor y, Tensor w, Tensor id);
Status cuda_embed_grad(Device *dev, Tensor dw, Tensor dy, Tensor id, Tensor first, Tensor order);
Status cuda_gather(Device *dev, Tensor y, Tensor x, Tensor row);
Status cuda_scatter(Device *dev, Tensor x, Tensor y, Tensor row);
Status cuda_bias_grad(Device *dev, Tensor db, Tensor dy);

Status cuda_rmsnorm(Device *dev, Tensor y, Tensor rstd, Tensor x, Tensor w, float eps);
Status cuda_rmsnorm_grad(Device *dev, Tensor dx, Tensor dw, Tensor dy, Tensor x, Tensor w, Tensor rstd, float beta);
Status cuda_rope(Device *dev, Tensor x, Tensor cos, Tensor sin, Tensor row, int direction);
Status cuda_swiglu(Device *dev, Tensor y, Tensor gate_up);
Status cuda_swiglu_grad(Device *dev, Tensor dgate_up, Tensor dy, Tensor gate_up);
Status cuda_dropout(Device *dev, Tensor y, Tensor x, float p, const DropoutKey *key);
Status cuda_axpy(Device *dev, Tensor y, Tensor x, float alpha);
Status cuda_sub(Device *dev, Tensor y, Tensor a, Tensor b);
Status cuda_scale(Device *dev, Tensor y, float alpha);
Status cuda_cast(Device *dev, Tensor y, Tensor x);

Status cuda_attn(Device *dev, const AttnArgs *args);
Status cuda_attn_grad(Device *dev, const AttnGradArgs *args);
Status cuda_kv_write(Device *dev, Tensor k_pages, Tensor v_pages, Tensor k, Tensor v, Tensor slot);
Status cuda_attn_cached(Device *dev, const AttnCachedArgs *args);

Status cuda_xent(Device *dev, Tensor loss, Tensor dlogits, Tensor logits, Tensor target, Tensor weight);
Status cuda_logprob(Device *dev, Tensor lp, Tensor best, Tensor logits, Tensor row, Tensor target);
Status cuda_argmax(Device *dev, Tensor id, Tensor logits);
Status cuda_sample(Device *dev, Tensor id, Tensor lp, Tensor logits, Tensor params);

Status cuda_sumsq(Device *dev, Tensor out, Tensor x);
Status cuda_adamw(Device *dev, const OptimArgs *args);
Status cuda_lion(Device *dev, const OptimArgs *args);

Status cuda_gram_values(Device *dev, double *lambda, Tensor a);
Status cuda_svd_values(Device *dev, double *sigma, Tensor a);
Status cuda_svd(Device *dev, Tensor u, double *sigma, Tensor vt, Tensor a);
Status cuda_qr(Device *dev, Tensor q, Tensor r, Tensor a);

#ifdef __cplusplus
}
#endif

#endif
