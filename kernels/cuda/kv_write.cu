/* New keys and values to their pages. Bytes: 2 (2 N K D) elements and 8 N of slots; no arithmetic. One warp a row, 16 bytes a lane where
 * both sides allow it. Expected: the copy rate from 1000 rows on; a decoding step's few rows cost a launch, about 3 us. */
#include "kernels/cuda/block.h"

enum { WRITE_WARPS = 4 };

typedef struct KvSide {
    char *to;
    const char *from;
    int64_t to_stride, from_stride; /* bytes */
} KvSide;

__device__ __forceinline__ void copy_piece(Pack16 *to, const Pack16 *from) { store16(to, load16(from)); }
__device__ __forceinline__ void copy_piece(uint16_t *to, const uint16_t *from) { *to = *from; }

/* Row r of blockIdx.y's side (0: keys, 1: values) goes to row slot[r], in `pieces` of P. */
template <typename P>
__global__ void __launch_bounds__(WRITE_WARPS *WARP) kv_write_kernel(KvSide k, KvSide v, const int32_t *slot, int64_t rows, int64_t pieces)
{
    const KvSide side = blockIdx.y == 0 ? k : v;
    const int64_t row = (int64_t)blockIdx.x * WRITE_WARPS + threadIdx.x / WARP;

    if (row >= rows)
        return;
    const P *from = (const P *)(const void *)(side.from + row * side.from_stride);
    P *to = (P *)(void *)(side.to + slot[row] * side.to_stride);

    for (int64_t i = threadIdx.x % WARP; i < pieces; i += WARP)
        copy_piece(&to[i], &from[i]);
}

static KvSide side_of(Tensor to, Tensor from)
{
    const int64_t size = (int64_t)dtype_bytes(to.dtype);

    return {(char *)to.data, (const char *)from.data, to.stride * size, from.stride * size};
}

static uintptr_t bits_of(KvSide s) { return (uintptr_t)s.to | (uintptr_t)s.from | (uintptr_t)s.to_stride | (uintptr_t)s.from_stride; }

extern "C" Status cuda_kv_write(Device *dev, Tensor k_pages, Tensor v_pages, Tensor k, Tensor v, Tensor slot)
{
    const KvSide keys = side_of(k_pages, k), values = side_of(v_pages, v);
    const int64_t bytes = k.cols * (int64_t)dtype_bytes(k.dtype);
    const dim3 grid(cuda_blocks(k.rows, WRITE_WARPS), 2);
    const bool wide = (bits_of(keys) | bits_of(values) | (uintptr_t)bytes) % sizeof(Pack16) == 0;

    if (wide)
        LAUNCH(kv_write_kernel<Pack16>, grid, WRITE_WARPS * WARP, 0, cuda_of(dev)->stream, keys, values, (const int32_t *)slot.data, k.rows,
               bytes / (int64_t)sizeof(Pack16));
    else
        LAUNCH(kv_write_kernel<uint16_t>, grid, WRITE_WARPS * WARP, 0, cuda_of(dev)->stream, keys, values, (const int32_t *)slot.data, k.rows,
               bytes / (int64_t)sizeof(uint16_t));
    return cuda_launched("kv_write");
}
