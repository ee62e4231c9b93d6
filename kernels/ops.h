/* THE OP CONTRACT: what every numeric operation means, for every backend.
 *
 * Letters: N packed tokens (rows), C hidden size, H query heads, K key/value heads, D head size, F ffn size, V vocabulary,
 * R gathered rows, S sequences or segments.
 *
 * Conventions
 * - Destinations first, then inputs, then numbers. More than a few arguments: a struct.
 * - Tensors are rows with a row stride (kernels/tensor.h). Unless said otherwise any stride >= cols is allowed and every
 *   activation of a call has one dtype T out of F32, BF16, F16 (F16: forward ops only). A struct's optional tensor is left
 *   out by leaving it zero.
 * - "=" overwrites, "+=" accumulates. Gradients of activations are "=", gradients of parameters are "+=" and F32.
 * - An op reads its inputs as F32, computes in F32, rounds once on writing. Sums named F64 are F64.
 * - A destination may be the same tensor as an input only where an op says "in place".
 * - One output element is computed by one thread in one fixed order over the reduced dimension, an order that depends on that
 *   element's own sizes only. So a row's result does not depend on the other rows, on its place, or on the thread count.
 * - Sizes of zero rows are allowed everywhere and do nothing.
 * - Every function checks its arguments (kernels/ops_*.c) and then calls the device's table. LT_E_FAIL: the arguments do not fit
 *   together. LT_E_UNSUPPORTED: this backend has no kernel for the op or the dtype. Anything else comes from the kernel.
 *
 * Index tensors (ids, rows) are I32 vectors on the device. Indices are the caller's promise: a backend need not check them. */
#ifndef LETHE_KERNELS_OPS_H
#define LETHE_KERNELS_OPS_H

#include "kernels/device.h"

/* ---- dense -------------------------------------------------------------------------------------------------------------- */

/* Chosen by the caller's phase, never by m: each (class, n, k, dtypes, transposes) has one algorithm, so a row's bits do not
 * depend on how many rows travel with it. */
typedef enum GemmClass {
    GEMM_WIDE,   /* training, scoring, prefill: many rows */
    GEMM_NARROW, /* decode: one row a sequence */
} GemmClass;

typedef enum GemmOp { GEMM_N, GEMM_T } GemmOp; /* operand as it lies, or transposed */

/* c[m,n] = alpha op(a)[m,k] op(b)[k,n] + beta c + bias[n]
 * a and b share a dtype (F32, BF16, F16, F64); c has theirs or F32 (F64 with F64). Accumulation F32 (F64 with F64), bias (dtype of c or of a) added
 * in it, one rounding. beta is 0 or 1: with 0, c is not read. Weights of the contract are [out, in], so y = x W^T is
 * {op_a N, op_b T}; dx = dy W is {N, N}; dW += dy^T x is {T, N, beta 1}. alpha = 0 stands for alpha = 1 (a zeroed struct).
 * packed: b in the form op_gemm_pack made of it, used instead of reading b; same bits. */
typedef struct GemmArgs {
    Tensor c, a, b, bias;
    GemmOp op_a, op_b;
    float alpha, beta;
    GemmClass phase;
    Tensor packed;
} GemmArgs;
Status op_gemm(Device *dev, const GemmArgs *args);

/* Constant weights w[n,k] (used as op_b T) in the backend's own layout, for small m: bytes needed (0: packing does not help here)
 * and the packing into memory the caller owns (a U16 or F32 vector of at least that many bytes). */
size_t op_gemm_pack_bytes(Device *dev, Tensor w, GemmClass phase);
Status op_gemm_pack(Device *dev, Tensor packed, Tensor w, GemmClass phase);

/* y[N,C] = w[id[n]] */
Status op_embed(Device *dev, Tensor y, Tensor w, Tensor id);
/* dw[id[u]] += the rows order[first[u]] .. order[first[u+1]-1] of dy[N,C], one after the other. id[U]: the ids that occur, all different;
 * first[U+1]; order[N], ascending within an id. The host sorts the batch once, so that no device has to. */
Status op_embed_grad(Device *dev, Tensor dw, Tensor dy, Tensor id, Tensor first, Tensor order);

/* y[r] = x[row[r]]             x[row[r]] = y[r], rows all different (the gradient of a gather, after a fill with zero) */
Status op_gather(Device *dev, Tensor y, Tensor x, Tensor row);
Status op_scatter(Device *dev, Tensor x, Tensor y, Tensor row);

/* db[n] += sum over rows of dy[N,n], in fixed blocks of rows, block sums in ascending order. */
Status op_bias_grad(Device *dev, Tensor db, Tensor dy);

/* ---- block -------------------------------------------------------------------------------------------------------------- */

/* y = x / sqrt(mean(x^2) + eps) * w, per group of w.cols columns: x[N, G D], w[D] gives G norms a row (G = 1: the usual norm;
 * G = H: Qwen3's per-head norms). rstd F32 [N, G], optional. y in place of x allowed. w has dtype T or F32. */
Status op_rmsnorm(Device *dev, Tensor y, Tensor rstd, Tensor x, Tensor w, float eps);
/* dx =, dw[D] += (optional: LoRA leaves norms as they are). beta 0: dx in place of dy allowed. beta 1: dx += (the residual branch's
 * gradient is already there). */
Status op_rmsnorm_grad(Device *dev, Tensor dx, Tensor dw, Tensor dy, Tensor x, Tensor w, Tensor rstd, float beta);

/* Rotary embedding of x[N, heads D] in place, half-split (Hugging Face's layout: pairs i and i + D/2):
 *   x_i' = x_i cos - x_{i+D/2} sin,  x_{i+D/2}' = x_{i+D/2} cos + x_i sin
 * cos, sin: F32 [P, D/2], made on the host, so that both backends read the same numbers. row[N]: row of the tables for each token
 * (position, plus the start of its sequence's table where there are several). direction +1, or -1 for the gradient. */
Status op_rope(Device *dev, Tensor x, Tensor cos, Tensor sin, Tensor row, int direction);

/* y[N,F] = silu(gate) up, where gate_up[N, 2F] holds gate in columns 0..F-1 and up behind it.
 * dgate_up[N,2F] = from dy and gate_up; in place of gate_up allowed. */
Status op_swiglu(Device *dev, Tensor y, Tensor gate_up);
Status op_swiglu_grad(Device *dev, Tensor dgate_up, Tensor dy, Tensor gate_up);

/* y = x keep / (1-p): no stored mask; the same call on dy is the gradient. In place allowed.
 * keep is word (column mod 4) of Philox at counter (low and high half of first_row + row, column / 4, step) with key (low half of the seed, high half
 * xor (layer << 8 | site)), as a number in [0, 1) not below p. Every step, layer and site draws its own mask; one call serves four columns. */
typedef struct DropoutKey {
    uint64_t seed;
    uint32_t step, layer, site; /* site: which dropout of the layer */
    int64_t first_row;          /* index of row 0 in the global batch, so that ranks draw what one process would */
} DropoutKey;
Status op_dropout(Device *dev, Tensor y, Tensor x, float p, const DropoutKey *key);

/* y += alpha x;   y = a - b;   y *= alpha;   y = x in y's dtype (any pair of F32, BF16, F16, F64). y and x may differ in dtype in all. */
Status op_axpy(Device *dev, Tensor y, Tensor x, float alpha);
Status op_sub(Device *dev, Tensor y, Tensor a, Tensor b);
Status op_scale(Device *dev, Tensor y, float alpha);
Status op_cast(Device *dev, Tensor y, Tensor x);

/* ---- attention ---------------------------------------------------------------------------------------------------------- */

/* Queries q_begin..q_begin+q_len-1 (rows of q and o). Query i sees, in order of position: the ctx_len keys from row ctx_begin of k and
 * v (positions 0..), then rows own_begin..own_begin+i (positions ctx_len..ctx_len+i). A plain causal sequence has ctx_len 0. The
 * four endings of an item are four segments that share one ctx. */
typedef struct AttnSegment {
    int32_t q_begin, q_len, ctx_begin, ctx_len, own_begin;
} AttnSegment;

/* o[N, H D] = softmax(scale q k^T) v per head; query head h uses kv head h / (H / K).
 * q[N, H D]; k, v[M, K D], M >= N (k and v may hold rows that have no query). lse F32 [N, H]: log-sum-exp of the scaled scores, optional.
 * window w > 0: key position j is visible from i only if i - w < j. Even D up to 256.
 * Keys are reduced in blocks of 64 inside splits of 256, both aligned to position 0 of the sequence; splits are merged in ascending
 * order by log-sum-exp: the same tree whether or not a context is shared, and the same as in op_attn_cached.
 * Rows of o outside all segments are not written. seg_dev: the same segments as I32 [S, 5] on the device.
 * dropout p on the probabilities, after the mass and lse: op_dropout's draw with row = query row * H + head, first_row counting H for each query row
 * before this call's, and column = the key's position in its sequence: a rank draws what one process would. 0 for scoring. */
typedef struct AttnArgs {
    Tensor o, lse, q, k, v;
    const AttnSegment *seg;
    Tensor seg_dev;
    int32_t n_seg, n_head, n_kv_head, head_size, window;
    float scale;
    float dropout;
    DropoutKey key;
} AttnArgs;
Status op_attn(Device *dev, const AttnArgs *args);

/* dq[N, H D], dk, dv[M, K D] = ; all segments have ctx_len 0 and own_begin == q_begin, and no row lies in two of them. Rows outside all segments become
 * zero. `fwd` as in the forward call, o and lse filled. On tensor cores weights and gradients of scores are rounded to T before they multiply. */
typedef struct AttnGradArgs {
    AttnArgs fwd;
    Tensor dq, dk, dv, d_o;
} AttnGradArgs;
Status op_attn_grad(Device *dev, const AttnGradArgs *args);

/* Paged keys and values: a page is KV_PAGE rows of k_pages / v_pages [pages KV_PAGE, K D]; a sequence's row of `table` I32 [S, P] lists its
 * pages in order of position. */
enum { KV_PAGE = 64, ATTN_SPLIT = 256 };

/* k_pages[slot[n]] = k[n], v_pages[slot[n]] = v[n]; slot = page * KV_PAGE + position % KV_PAGE. k, v already rotated. */
Status op_kv_write(Device *dev, Tensor k_pages, Tensor v_pages, Tensor k, Tensor v, Tensor slot);

/* Queries q_begin..+q_len-1 at positions past..past+q_len-1 of the sequence in row `table_row`; its keys up to there are in the pages. */
typedef struct CachedSegment {
    int32_t q_begin, q_len, past, table_row;
} CachedSegment;
/* Segments first..first+count-1 have the same first prefix_len positions in the same pages, prefix_len a multiple of ATTN_SPLIT:
 * those keys are read once for the whole group. Changes no bit. Groups ascend and do not overlap. */
typedef struct PrefixGroup {
    int32_t first, count, prefix_len;
} PrefixGroup;
typedef struct AttnCachedArgs {
    Tensor o, q, k_pages, v_pages, table;
    const CachedSegment *seg;
    Tensor seg_dev; /* I32 [S, 4] */
    const PrefixGroup *group;
    Tensor group_dev; /* I32 [n_group, 3] */
    int32_t n_seg, n_group, n_head, n_kv_head, head_size, window;
    float scale;
} AttnCachedArgs;
/* Keys of a sequence: at most table.cols pages. A recorded call (device_record_begin) is replayed with other values of `past` in seg_dev and other pages in
 * the table: a backend that can record lays out its work by q_len, the groups and table.cols, never by `past`. */
Status op_attn_cached(Device *dev, const AttnCachedArgs *args);

/* ---- loss and choice ---------------------------------------------------------------------------------------------------- */

/* Cross-entropy with its gradient. logits F32 [R, V]; target[R] (-100 or weight 0: the row counts nothing, its gradient is 0).
 * loss F32 [R] = weight (lse - logit[target]); dlogits = weight (softmax - onehot) in its own dtype, in place of F32 logits allowed,
 * or left out (held-out loss). */
Status op_xent(Device *dev, Tensor loss, Tensor dlogits, Tensor logits, Tensor target, Tensor weight);

/* For P pairs (row, target): lp F32 [P] = log_softmax(logits[row])[target]; best I32 [P] = argmax of that row (lowest index wins), optional.
 * logits F32 [R, V], sums F32 in fixed blocks. Pairs are sorted by row. */
Status op_logprob(Device *dev, Tensor lp, Tensor best, Tensor logits, Tensor row, Tensor target);

/* id[R] = argmax of each row, lowest index wins a tie. A row with a NaN gives the index of its first NaN. */
Status op_argmax(Device *dev, Tensor id, Tensor logits);

/* One draw a row. A row's result depends on its logits and its own parameters only. temperature 0: argmax. top_k 0, top_p 1: no cut.
 * Order as in transformers: temperature, then top-k (equals of the k-th stay), then top-p over what is left (keeps the smallest set whose mass
 * reaches p). The draw walks the mass of what the cuts left, by descending logit and among equals by ascending id; without a cut by ascending
 * id. It takes the first id at which the mass so far exceeds u times the whole. u: Philox at counter (step, 0, 0, 0), key (seed_low,
 * seed_high). */
typedef struct SampleParams {
    float temperature, top_p;
    int32_t top_k;
    uint32_t seed_low, seed_high, step;
} SampleParams;
/* id I32 [R]; lp F32 [R]: log-probability of the drawn id under the uncut, untempered distribution, optional. params: I32 [R, 6]. */
Status op_sample(Device *dev, Tensor id, Tensor lp, Tensor logits, Tensor params);

/* ---- training ----------------------------------------------------------------------------------------------------------- */

/* out[0] += sum of squares of x. out: F64 [1, 1] on the device, so that the norm of many tensors is fetched once. Products and sums F64, in
 * fixed blocks of 4096 elements (row by row, whatever the stride), whose sums are added in ascending order. */
Status op_sumsq(Device *dev, Tensor out, Tensor x);

/* One update of one parameter. master F32; weight: the copy the model reads (dtype T), optional where it is the master itself.
 * low: U16, with a BF16 weight (masters "split"); then master is left out: its bits are 2^16 times the weight's plus low read as signed. So the
 * weight is the master rounded to nearest (halves away from 0) as it would be beside a master of its own; mere truncation would pull every
 * weight toward 0. low = 0: the master is the weight.
 * m, v: F32 or BF16; the update uses them before they are rounded. v in BF16 is rounded up or down at random, up as often as the part cut off says,
 * by a hash of its F32 bits and step: to nearest it could not fall, since a step moves it by (1-b2), usually 0.001, and half a unit is 0.002 to 0.004.
 * grad F32 is multiplied by grad_scale (clipping). decay: the factor taken off the parameter first, p *= 1 - decay. step counts from 1.
 * An element's result depends on its own numbers only; every backend gives the same bits. */
typedef struct OptimArgs {
    Tensor master, low, weight, grad, m, v; /* v: AdamW only */
    float lr, beta1, beta2, eps, decay, grad_scale;
    int64_t step;
} OptimArgs;
/* m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; p -= lr (m / (1-b1^step)) / (sqrt(v / (1-b2^step)) + eps)   (torch.optim.AdamW) */
Status op_adamw(Device *dev, const OptimArgs *args);
/* u = sign(m + (1-b1)(g-m)), 0 for 0 and NaN; p -= lr u; m += (1-b2)(g-m)   (Composer's DecoupledLionW) */
Status op_lion(Device *dev, const OptimArgs *args);

/* ---- decompositions ----------------------------------------------------------------------------------------------------- */

/* a[m,n] is F64 or F32, any stride; q = min(m, n). Values come back as F64 in host memory, descending. Each call waits for the device.
 * - An element that is no finite number, or squares whose sum leaves the range of F64: LT_E_NUMERIC, naming the element.
 * - Every result is checked before it is given: sums of squares against that of a's elements; factors against a, and for orthogonality, by products with
 *   a few fixed vectors of signs. No convergence or a failed check: LT_E_NUMERIC, and the destinations hold nothing of use. (Why the bounds are
 *   what they are: kernels/linalg_check.h.)
 * - Bits do not depend on the number of threads: work is shared out in tiles of fixed size, and a library's call has one thread. Small
 *   matrices therefore go faster side by side, each on a device of its own.
 * - Memory beyond a and the results: what an op says, and a few vectors. */

/* Eigenvalues of the smaller of a aT and aT a, in F64: the squares of the singular values, q of them, never negative, each within about
 * 1e-14 of the largest. a is kept. Memory: q^2 F64, on the CPU 2 % more at q = 4096, on CUDA cuSOLVER's own room. */
Status op_gram_values(Device *dev, double *lambda, Tensor a);
/* Singular values by a direct method in a's dtype, small ones included. a is destroyed. Slower than the Gram matrix, several times. */
Status op_svd_values(Device *dev, double *sigma, Tensor a);
/* Full economy SVD: u[m,q], vt[q,n] in a's dtype, apart from a and from one another. a is destroyed. Memory, in elements of a's dtype: about 8 q^2 on
 * the CPU, 2 m n + q^2 and cuSOLVER's own room on CUDA. */
Status op_svd(Device *dev, Tensor u, double *sigma, Tensor vt, Tensor a);
/* The largest k singular values and vectors, randomised (Halko, Martinsson and Tropp 2011, algorithms 4.4 and 5.1): u[m,k], vt[k,n] in a's dtype. a is kept.
 * With l = min(k + oversample, q): orthonormal q[m,l] from a times a Gaussian matrix, made better by `power_iterations` rounds of aT and a, each
 * followed by a QR; then the SVD of qT a. Exact to rounding where a has rank <= l; else sigma stays below the true value, the less the faster the values fall.
 * Gaussian: four columns 4 j.. of row i come from Philox at counter (i, j, 0, 0) with the halves of the seed as key, two from words 0 and 1, two from words 2
 * and 3, by Box and Muller. Memory: about (m + 2 n) l elements. */
typedef struct TopkArgs {
    int32_t k, oversample, power_iterations;
    uint64_t seed;
} TopkArgs;
Status op_svd_topk(Device *dev, Tensor u, double *sigma, Tensor vt, Tensor a, const TopkArgs *args);
/* a[m,n] = q[m,n] r[n,n], m >= n: q's columns orthonormal, r upper triangular with zeros below and a diagonal that is nowhere negative (so both
 * are unique where a has full rank). a is destroyed; q may be a. */
Status op_qr(Device *dev, Tensor q, Tensor r, Tensor a);

#endif
