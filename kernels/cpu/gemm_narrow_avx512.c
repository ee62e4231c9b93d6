#include "kernels/cpu/gemm_narrow.h"

#if CPU_X86
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

enum { LINE = NARROW_COLS * NARROW_WORD };

/* sum + x w, word by word. */
typedef __m512 Multiply(__m512 sum, __m512i x, __m512i w);

TARGET_AVX512 INLINE __m512 multiply_f32(__m512 sum, __m512i x, __m512i w)
{
    return _mm512_fmadd_ps(_mm512_castsi512_ps(x), _mm512_castsi512_ps(w), sum);
}

/* Two products a word; subnormal numbers count as zero. */
TARGET_AVX512_BF16 INLINE __m512 multiply_pairs(__m512 sum, __m512i x, __m512i w)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)w);
}

/* v[row] holds 16 words of a row; afterwards v[word] holds that word of 16 rows. */
TARGET_AVX512 INLINE void turn(__m512i v[16])
{
    __m512i t[16];

#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    /* v[4 q + c] holds, in its quarter s, word 4 s + c of rows 4 q.. */
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        t[c] = _mm512_shuffle_i32x4(v[c], v[4 + c], 0x88);
        t[4 + c] = _mm512_shuffle_i32x4(v[c], v[4 + c], 0xdd);
        t[8 + c] = _mm512_shuffle_i32x4(v[8 + c], v[12 + c], 0x88);
        t[12 + c] = _mm512_shuffle_i32x4(v[8 + c], v[12 + c], 0xdd);
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        v[c] = _mm512_shuffle_i32x4(t[c], t[8 + c], 0x88);
        v[8 + c] = _mm512_shuffle_i32x4(t[c], t[8 + c], 0xdd);
        v[4 + c] = _mm512_shuffle_i32x4(t[4 + c], t[12 + c], 0x88);
        v[12 + c] = _mm512_shuffle_i32x4(t[4 + c], t[12 + c], 0xdd);
    }
}

INLINE size_t element_bytes(NarrowKind kind) { return kind == NARROW_F32 ? sizeof(float) : sizeof(uint16_t); }
INLINE int64_t elements_of_block(NarrowKind kind) { return kind == NARROW_PAIRS ? 2 * NARROW_BLOCK : NARROW_BLOCK; }

/* The words of the first `left` elements at `at`, zeros behind them. */
TARGET_AVX512 INLINE __m512i load_part(const char *at, NarrowKind kind, int64_t left)
{
    if (kind == NARROW_PAIRS)
        return _mm512_maskz_loadu_epi16((__mmask32)((1ull << left) - 1), at);
    if (kind == NARROW_F32)
        return _mm512_maskz_loadu_epi32((__mmask16)((1u << left) - 1), at);
    const __m256i half = _mm256_maskz_loadu_epi16((__mmask16)((1u << left) - 1), at);
    return kind == NARROW_F16 ? _mm512_castps_si512(_mm512_cvtph_ps(half)) : _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}

TARGET_AVX512 INLINE __m512i load(const char *at, NarrowKind kind)
{
    if (kind == NARROW_PAIRS || kind == NARROW_F32)
        return _mm512_loadu_si512(at);
    const __m256i half = _mm256_loadu_si256((const __m256i *)(const void *)at);
    return kind == NARROW_F16 ? _mm512_castps_si512(_mm512_cvtph_ps(half)) : _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}

/* The panel's rows; behind the last one, that one again: its sums are nobody's. */
INLINE void find_rows(const char *row[NARROW_COLS], const NarrowPanel *p)
{
    for (int j = 0; j < NARROW_COLS; j++)
        row[j] = p->w + (size_t)(j < p->cols ? j : p->cols - 1) * p->w_step;
}

/* Block `at` (in elements) of all rows, turned; the same place of the next panel is asked for. */
TARGET_AVX512 INLINE void load_block(__m512i v[NARROW_COLS], const char *const row[NARROW_COLS], const NarrowPanel *p, NarrowKind kind, int64_t at)
{
    const size_t bytes = (size_t)at * element_bytes(kind);
    const int64_t left = p->k - at;

    if (p->is_followed)
#pragma GCC unroll 16
        for (int j = 0; j < NARROW_COLS; j++)
            _mm_prefetch(p->w + NARROW_COLS * (p->w_step + bytes) + j * LINE, _MM_HINT_T1);
    if (left >= elements_of_block(kind))
#pragma GCC unroll 16
        for (int j = 0; j < NARROW_COLS; j++)
            v[j] = load(row[j] + bytes, kind);
    else
#pragma GCC unroll 16
        for (int j = 0; j < NARROW_COLS; j++)
            v[j] = load_part(row[j] + bytes, kind, left);
    turn(v);
}

TARGET_AVX512 INLINE void store_block(char *turned, const __m512i v[NARROW_BLOCK])
{
#pragma GCC unroll 16
    for (int s = 0; s < NARROW_BLOCK; s++)
        _mm512_storeu_si512(turned + s * LINE, v[s]);
}

TARGET_AVX512 INLINE __m512i word_of(const NarrowTask *t, int i, int64_t at)
{
    return _mm512_set1_epi32(*(const int32_t *)(const void *)(t->x + (size_t)i * t->x_step + (size_t)at * NARROW_WORD));
}

/* rows, kind and multiply are constants wherever these are inlined, so the sums are registers. */
TARGET_AVX512 INLINE void turn_multiply(const NarrowTask *t, NarrowKind kind, int rows, Multiply *multiply)
{
    const NarrowPanel *p = t->panel;
    const char *row[NARROW_COLS];
    __m512 sum[NARROW_ROWS];
    __m512i v[NARROW_COLS];

    find_rows(row, p);
    for (int i = 0; i < rows; i++)
        sum[i] = _mm512_setzero_ps();
    for (int64_t at = 0; at < p->words; at += NARROW_BLOCK) {
        load_block(v, row, p, kind, at / NARROW_BLOCK * elements_of_block(kind));
        if (t->turned != NULL)
            store_block(t->turned + (size_t)at * LINE, v);
#pragma GCC unroll 16
        for (int s = 0; s < NARROW_BLOCK; s++)
#pragma GCC unroll 8
            for (int i = 0; i < rows; i++)
                sum[i] = multiply(sum[i], word_of(t, i, at + s), v[s]);
    }
    for (int i = 0; i < rows; i++)
        _mm512_storeu_ps(t->sums + i * t->sums_stride, sum[i]);
}

TARGET_AVX512 INLINE void multiply_turned(const NarrowTask *t, int rows, Multiply *multiply)
{
    const char *turned = t->turned;
    __m512 sum[NARROW_ROWS];

    for (int i = 0; i < rows; i++)
        sum[i] = _mm512_setzero_ps();
    for (int64_t at = 0; at < t->panel->words; at++, turned += LINE) {
        const __m512i w = _mm512_loadu_si512(turned);

        _mm_prefetch(turned + t->ahead, _MM_HINT_T0);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++)
            sum[i] = multiply(sum[i], word_of(t, i, at), w);
    }
    for (int i = 0; i < rows; i++)
        _mm512_storeu_ps(t->sums + i * t->sums_stride, sum[i]);
}

/* ---- by rows and kind ------------------------------------------------------------------------------------------------------- */

TARGET_AVX512 INLINE void turn_multiply_rows(const NarrowTask *t, NarrowKind kind, Multiply *multiply)
{
    if (t->rows == 8)
        turn_multiply(t, kind, 8, multiply);
    else if (t->rows == 4)
        turn_multiply(t, kind, 4, multiply);
    else if (t->rows == 2)
        turn_multiply(t, kind, 2, multiply);
    else
        turn_multiply(t, kind, 1, multiply);
}

TARGET_AVX512 INLINE void multiply_rows(const NarrowTask *t, Multiply *multiply)
{
    if (t->rows == 8)
        multiply_turned(t, 8, multiply);
    else if (t->rows == 4)
        multiply_turned(t, 4, multiply);
    else if (t->rows == 2)
        multiply_turned(t, 2, multiply);
    else
        multiply_turned(t, 1, multiply);
}

TARGET_AVX512_BF16 static void turn_multiply_pairs(const NarrowTask *t) { turn_multiply_rows(t, NARROW_PAIRS, multiply_pairs); }
TARGET_AVX512_BF16 static void multiply_turned_pairs(const NarrowTask *t) { multiply_rows(t, multiply_pairs); }
TARGET_AVX512 static void turn_multiply_f32(const NarrowTask *t) { turn_multiply_rows(t, NARROW_F32, multiply_f32); }
TARGET_AVX512 static void turn_multiply_bf16(const NarrowTask *t) { turn_multiply_rows(t, NARROW_BF16, multiply_f32); }
TARGET_AVX512 static void turn_multiply_f16(const NarrowTask *t) { turn_multiply_rows(t, NARROW_F16, multiply_f32); }
TARGET_AVX512 static void multiply_turned_f32(const NarrowTask *t) { multiply_rows(t, multiply_f32); }

void narrow_turn_multiply(NarrowKind kind, const NarrowTask *t)
{
    if (kind == NARROW_PAIRS)
        turn_multiply_pairs(t);
    else if (kind == NARROW_F32)
        turn_multiply_f32(t);
    else if (kind == NARROW_BF16)
        turn_multiply_bf16(t);
    else
        turn_multiply_f16(t);
}

void narrow_multiply(NarrowKind kind, const NarrowTask *t)
{
    if (kind == NARROW_PAIRS)
        multiply_turned_pairs(t);
    else
        multiply_turned_f32(t);
}

TARGET_AVX512 INLINE void turn_only(const NarrowPanel *p, char *turned, NarrowKind kind)
{
    const char *row[NARROW_COLS];
    __m512i v[NARROW_COLS];

    find_rows(row, p);
    for (int64_t at = 0; at < p->words; at += NARROW_BLOCK) {
        load_block(v, row, p, kind, at / NARROW_BLOCK * elements_of_block(kind));
        store_block(turned + (size_t)at * LINE, v);
    }
}

TARGET_AVX512 void narrow_turn(NarrowKind kind, const NarrowPanel *p, char *turned)
{
    if (kind == NARROW_PAIRS)
        turn_only(p, turned, NARROW_PAIRS);
    else
        turn_only(p, turned, NARROW_F32);
}
#endif
