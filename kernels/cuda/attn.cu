/* Attention over packed sequences with shared contexts, in one kernel: a block takes a tile of 64 rows (F32: 32) of one segment and one kv head
 * and walks over the keys they see (attn_tile.h, attn_walk.h). A row is a query and a query head, so the heads of a group share the keys they
 * are multiplied with.
 *
 * For a segment of n queries behind a context of c keys: 4 H D (n c + n (n + 1) / 2) FLOPs. Bytes: q and o once, 2 n H D elements; k and v once
 * a tile, (n group / 64) (c + n / 2) 2 K D elements, of which DRAM sees the 2 (c + n) K D that L2 does not hold.
 *
 * Blocks on a multiprocessor of an H100, by registers (at most 128, 128, 190, 254 a thread, no spills) and shared memory (24, 44, 84, 164 KiB: q, k, v and
 * the F32 sums of the splits before): 4, 4, 2, 1 at D 32, 64, 128, 256, of four warps each. F32: 128, 128, 150, 172 registers, 4, 3, 2, 1 blocks; D above
 * 128 wants 204 KiB. An A100 has 163 and refuses D above 128. With dropout at most 255 registers, no spills.
 *
 * The bound at D 128: a warp has 16 rows and reads a block's k and v for them, 40 KiB of shared memory with q and the joined sums, 320 clocks at
 * 128 bytes; its 2 x 16 x 64 x 128 multiply-adds take 256 at the 1024 a clock of mma.sync, which is about 0.62 of the 989 TFLOP/s of
 * wgmma. So at most 0.8 x 0.62 x 989 = 490; softmax and addresses between the products take about half of the time.
 * Expected: 200 to 250 TFLOP/s from 2048 keys on, 20 to 25 % of the floor by FLOPs; for endings of 20 tokens behind 100 about 8 %, since the
 * tiles are two thirds empty: attention is 0.2 % of the FLOPs of such a pass. F32: 30 % of 67 TFLOP/s. */
#include "kernels/cuda/attn_launch.h"

/* The launch's segments: the tiles before each. */
enum { ATTN_LIST = 512, ATTN_WARPS = 4 };
typedef struct AttnList {
    int32_t first, n; /* segments first..first+n-1 of the call */
    int32_t tile[ATTN_LIST + 1];
} AttnList;

template <typename T, int DP, bool DROP>
__global__ void __launch_bounds__(AttnLayout<T, DP, ATTN_WARPS>::THREADS, DROP || DP > 64 ? 1 : 4)
    attn_kernel(AttnProblem p, AttnList list, const int32_t *segment, int64_t stride)
{
    typedef AttnLayout<T, DP, ATTN_WARPS> L;
    SHARED_DYN(char, base);
    const AttnShared<T> m = attn_carve<T, DP, ATTN_WARPS>(base);
    const int tile = blockIdx.x / p.n_kv_head, kv_head = blockIdx.x % p.n_kv_head, at = attn_find(list.tile, 1, list.n, tile);
    const int32_t *s = segment + (int64_t)(list.first + at) * stride;
    const int32_t q_begin = s[0], ctx_len = s[3];
    const int64_t n_row = (int64_t)s[1] * p.group;
    const int64_t first = (int64_t)(list.tile[at + 1] - 1 - tile) * L::ROWS; /* the last rows see most keys: they go first */
    AttnState<T, DP> state;

    for (int r = threadIdx.x; r < L::ROWS; r += L::THREADS) {
        const int query = (int)((first + r) / p.group);
        AttnRow *row = &m.row[r];

        row->query = first + r < n_row ? q_begin + query : -1;
        row->head = kv_head * p.group + (int)((first + r) % p.group);
        row->position = ctx_len + query;
    }
    p.k = (const T *)p.k + (int64_t)kv_head * p.head_size;
    p.v = (const T *)p.v + (int64_t)kv_head * p.head_size;
    __syncthreads();
    attn_load_queries<T, DP, ATTN_WARPS>(m, p);
    attn_begin<T, DP, ATTN_WARPS>(state, m);
    attn_walk<T, DP, ATTN_WARPS, DROP>(state, m, p, {NULL, s[2], ctx_len, s[4]},
                                       attn_first(state.low, p.window) / ATTN_BLOCK * ATTN_BLOCK, state.high + 1, ATTN_JOIN);
    attn_store<T, DP, ATTN_WARPS>(state, m, p);
}

template <typename T, int DP, bool DROP> static Status launch(Device *dev, const AttnProblem *p, const AttnList *list, Tensor seg)
{
    typedef AttnLayout<T, DP, ATTN_WARPS> L;
    const unsigned blocks = (unsigned)(list->tile[list->n] * p->n_kv_head);

    TRY(cuda_allow_shared(dev, (const void *)attn_kernel<T, DP, DROP>, L::BYTES, "attn"));
    LAUNCH((attn_kernel<T, DP, DROP>), blocks, L::THREADS, L::BYTES, cuda_of(dev)->stream, *p, *list, (const int32_t *)seg.data, seg.stride);
    return cuda_launched("attn");
}

static Status launch_list(Device *dev, const AttnProblem *p, const AttnList *list, const AttnArgs *a)
{
    if (list->tile[list->n] == 0)
        return LT_OK;
    WITH_FLOAT(a->q.dtype, T, WITH_HEAD(a->head_size, DP, {
                   if (p->dropout > 0)
                       return launch<T, DP, true>(dev, p, list, a->seg_dev);
                   return launch<T, DP, false>(dev, p, list, a->seg_dev);
               }));
    return LT_OK;
}

extern "C" Status cuda_attn(Device *dev, const AttnArgs *args)
{
    const AttnArgs *a = args;
    const AttnCommon common = {a->o, a->q, a->k, a->v, a->n_head, a->n_kv_head, a->head_size, a->window, a->scale};
    const int64_t rows = attn_tile_rows(a->q.dtype, ATTN_WARPS);
    AttnProblem p = attn_problem(&common);
    AttnList list = {};

    p.lse = (float *)a->lse.data;
    p.lse_stride = a->lse.stride;
    p.dropout = a->dropout;
    p.key = a->key;
    for (int32_t s = 0; s < a->n_seg; s++) {
        list.tile[list.n + 1] = list.tile[list.n] + (int32_t)(((int64_t)a->seg[s].q_len * p.group + rows - 1) / rows);
        if (++list.n == ATTN_LIST) {
            TRY(launch_list(dev, &p, &list, a));
            list.first = s + 1;
            list.n = 0;
        }
    }
    return launch_list(dev, &p, &list, a);
}
