#include "kernels/cpu/attn_panel.h"

void attn_panel_generic(const AttnPanel *p)
{
    for (int row = 0; row < p->rows; row++) {
        float *restrict c = p->c + row * p->ldc;

        for (int col = 0; col < p->cols; col++)
            c[col] = p->keep != NULL ? p->keep[row] * c[col] : 0;
        for (int k = 0; k < p->depth; k++) {
            const float a = p->a[row * p->lda + k * p->step];
            const float *restrict b = p->b + k * p->ldb;

            for (int col = 0; col < p->cols; col++)
                c[col] += a * b[col];
        }
    }
}

#if CPU_X86
#include <immintrin.h>

/* Twelve of the sixteen registers hold sums; `rows` is a constant at every call, so that they are registers. */
TARGET_AVX2 static inline __attribute__((always_inline)) void tile_avx2(const AttnPanel *p, int col, const int rows)
{
    __m256 sum[PANEL_ROWS][2];
    const float *a = p->a, *b = p->b + col;
    float *c = p->c + col;

#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        sum[r][0] = sum[r][1] = _mm256_setzero_ps();
        if (p->keep != NULL) {
            const __m256 keep = _mm256_broadcast_ss(p->keep + r);

            sum[r][0] = _mm256_mul_ps(keep, _mm256_loadu_ps(c + r * p->ldc));
            sum[r][1] = _mm256_mul_ps(keep, _mm256_loadu_ps(c + r * p->ldc + 8));
        }
    }
    for (int k = 0; k < p->depth; k++, a += p->step, b += p->ldb) {
        const __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);

#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            const __m256 x = _mm256_broadcast_ss(a + r * p->lda);

            sum[r][0] = _mm256_fmadd_ps(x, b0, sum[r][0]);
            sum[r][1] = _mm256_fmadd_ps(x, b1, sum[r][1]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        _mm256_storeu_ps(c + r * p->ldc, sum[r][0]);
        _mm256_storeu_ps(c + r * p->ldc + 8, sum[r][1]);
    }
}

TARGET_AVX2 void attn_panel_avx2(const AttnPanel *p)
{
    for (int col = 0; col < p->cols; col += PANEL_COLS) {
        switch (p->rows) {
        case 1: tile_avx2(p, col, 1); break;
        case 2: tile_avx2(p, col, 2); break;
        case 3: tile_avx2(p, col, 3); break;
        case 4: tile_avx2(p, col, 4); break;
        case 5: tile_avx2(p, col, 5); break;
        default: tile_avx2(p, col, 6); break;
        }
    }
}

/* 24 of the 32 registers hold sums when vecs is 4. */
TARGET_AVX512 static inline __attribute__((always_inline)) void tile_avx512(const AttnPanel *p, int col, const int rows, const int vecs)
{
    __m512 sum[PANEL_ROWS][4], part[4];
    const float *a = p->a, *b = p->b + col;
    float *c = p->c + col;

#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++)
            sum[r][v] = p->keep == NULL ? _mm512_setzero_ps() : _mm512_mul_ps(_mm512_set1_ps(p->keep[r]), _mm512_loadu_ps(c + r * p->ldc + 16 * v));
    for (int k = 0; k < p->depth; k++, a += p->step, b += p->ldb) {
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++)
            part[v] = _mm512_loadu_ps(b + 16 * v);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            const __m512 x = _mm512_set1_ps(a[r * p->lda]);

#pragma GCC unroll 4
            for (int v = 0; v < vecs; v++)
                sum[r][v] = _mm512_fmadd_ps(x, part[v], sum[r][v]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++)
            _mm512_storeu_ps(c + r * p->ldc + 16 * v, sum[r][v]);
}

TARGET_AVX512 static inline __attribute__((always_inline)) void tiles_avx512(const AttnPanel *p, int col, const int vecs)
{
    switch (p->rows) {
    case 1: tile_avx512(p, col, 1, vecs); break;
    case 2: tile_avx512(p, col, 2, vecs); break;
    case 3: tile_avx512(p, col, 3, vecs); break;
    case 4: tile_avx512(p, col, 4, vecs); break;
    case 5: tile_avx512(p, col, 5, vecs); break;
    default: tile_avx512(p, col, 6, vecs); break;
    }
}

TARGET_AVX512 void attn_panel_avx512(const AttnPanel *p)
{
    int col = 0;

    for (; col + 4 * PANEL_COLS <= p->cols; col += 4 * PANEL_COLS)
        tiles_avx512(p, col, 4);
    for (; col < p->cols; col += PANEL_COLS)
        tiles_avx512(p, col, 1);
}

#else /* never chosen: the level is CPU_GENERIC */
void attn_panel_avx2(const AttnPanel *p) { attn_panel_generic(p); }
void attn_panel_avx512(const AttnPanel *p) { attn_panel_generic(p); }
#endif
