/* Attention over pages: the bits of op_attn on the same sequences laid out flat, with and without shared prefixes. */
#include "kernels/ops.h"

#include "core/mem.h"
#include "tests/check.h"
#include "tests/tensor_box.h"

#include <math.h>
#include <stdio.h>

enum { SEQUENCES = 6, PAGES = 14, POOL = 64, Q_ROWS = 400, PREFIX = 256 };

/* All but the first begin with the same PREFIX positions; one has no query. */
static const struct {
    int32_t past, q_len;
} SEQUENCE[SEQUENCES] = {{0, 70}, {256, 1}, {300, 205}, {256, 0}, {257, 63}, {520, 1}};

typedef struct Shape {
    int32_t n_head, n_kv_head, size, window;
} Shape;

/* The same call on both layouts. */
typedef struct Both {
    Box q, k, v, flat_o, k_pages, v_pages, table, slot, o, seg_flat, seg_paged, group;
    AttnSegment flat[SEQUENCES];
    CachedSegment paged[SEQUENCES];
    AttnArgs flat_args;
    AttnCachedArgs paged_args;
} Both;

static int32_t flat_rows(void)
{
    int32_t n = 0;

    for (int s = 0; s < SEQUENCES; s++)
        n += SEQUENCE[s].past + SEQUENCE[s].q_len;
    return n;
}

/* Pages in an order of no meaning; those of the prefix go to all that share it. */
static void deal_pages(Box *table)
{
    int dealt = 0;

    for (int s = 0; s < SEQUENCES; s++)
        for (int p = 0; p < PAGES; p++)
            if (s > 1 && p < PREFIX / KV_PAGE)
                table->v[s * PAGES + p] = table->v[PAGES + p];
            else if (p * KV_PAGE < SEQUENCE[s].past + SEQUENCE[s].q_len)
                table->v[s * PAGES + p] = dealt++ * 29 % POOL;
    box_put(table);
}

static void lay_out(Both *b)
{
    const int64_t cols = b->k.t.cols;
    int32_t row = 0, q = 3, prefix = 0;

    for (int s = 0; s < SEQUENCES; s++) {
        const int32_t past = SEQUENCE[s].past, len = past + SEQUENCE[s].q_len;

        b->flat[s] = (AttnSegment){q, SEQUENCE[s].q_len, row, past, row + past};
        b->paged[s] = (CachedSegment){q, SEQUENCE[s].q_len, past, s};
        for (int32_t i = 0; i < len; i++) {
            b->slot.v[row + i] = b->table.v[s * PAGES + i / KV_PAGE] * KV_PAGE + i % KV_PAGE;
            for (int64_t d = 0; d < cols && s > 1 && i < PREFIX; d++) {
                b->k.v[(row + i) * cols + d] = b->k.v[(prefix + i) * cols + d];
                b->v.v[(row + i) * cols + d] = b->v.v[(prefix + i) * cols + d];
            }
        }
        prefix = s == 1 ? row : prefix;
        q += SEQUENCE[s].q_len;
        row += len;
    }
    box_put(&b->k);
    box_put(&b->v);
    box_put(&b->slot);
}

static Both both_new(Device *dev, DType dtype, Shape s)
{
    TestRandom r = {77};
    const int32_t rows = flat_rows(), k_cols = s.n_kv_head * s.size, q_cols = s.n_head * s.size;
    const float scale = 1 / sqrtf((float)s.size);
    Both b = {.q = box_normal(dev, dtype, Q_ROWS, q_cols, 3, &r, 2), .k = box_normal(dev, dtype, rows, k_cols, 1, &r, 1),
              .v = box_normal(dev, dtype, rows, k_cols, 2, &r, 1), .flat_o = box_new(dev, dtype, Q_ROWS, q_cols, 0),
              .k_pages = box_new(dev, dtype, POOL * KV_PAGE, k_cols, 0), .v_pages = box_new(dev, dtype, POOL * KV_PAGE, k_cols, 4),
              .table = box_new(dev, LT_I32, SEQUENCES, PAGES, 2), .slot = box_new(dev, LT_I32, 1, rows, 0), .o = box_new(dev, dtype, Q_ROWS, q_cols, 1),
              .seg_flat = box_new(dev, LT_I32, SEQUENCES, 5, 0), .seg_paged = box_new(dev, LT_I32, SEQUENCES, 4, 0), .group = box_new(dev, LT_I32, 3, 3, 0)};

    deal_pages(&b.table);
    lay_out(&b);
    b.flat_args = (AttnArgs){.o = b.flat_o.t, .q = b.q.t, .k = b.k.t, .v = b.v.t, .seg_dev = b.seg_flat.t, .n_seg = SEQUENCES, .n_head = s.n_head,
                             .n_kv_head = s.n_kv_head, .head_size = s.size, .window = s.window, .scale = scale};
    b.paged_args = (AttnCachedArgs){.o = b.o.t, .q = b.q.t, .k_pages = b.k_pages.t, .v_pages = b.v_pages.t, .table = b.table.t,
                                    .seg_dev = b.seg_paged.t, .n_seg = SEQUENCES, .n_head = s.n_head, .n_kv_head = s.n_kv_head,
                                    .head_size = s.size, .window = s.window, .scale = scale};
    return b;
}

static void both_free(Both *b)
{
    Box *all[] = {&b->q, &b->k, &b->v, &b->flat_o, &b->k_pages, &b->v_pages, &b->table, &b->slot, &b->o, &b->seg_flat, &b->seg_paged, &b->group};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        box_free(all[i]);
}

/* The boxes' device copies of the segment lists; the lists themselves move with the struct, so they are pointed to here. */
static void both_bind(Both *b)
{
    for (int s = 0; s < SEQUENCES; s++) {
        const int32_t flat[5] = {b->flat[s].q_begin, b->flat[s].q_len, b->flat[s].ctx_begin, b->flat[s].ctx_len, b->flat[s].own_begin};
        const int32_t paged[4] = {b->paged[s].q_begin, b->paged[s].q_len, b->paged[s].past, b->paged[s].table_row};

        for (int i = 0; i < 5; i++)
            b->seg_flat.v[5 * s + i] = flat[i];
        for (int i = 0; i < 4; i++)
            b->seg_paged.v[4 * s + i] = paged[i];
    }
    box_put(&b->seg_flat);
    box_put(&b->seg_paged);
    b->flat_args.seg = b->flat;
    b->paged_args.seg = b->paged;
}

static void set_groups(Both *b, const PrefixGroup *group, int32_t n)
{
    for (int32_t g = 0; g < n; g++) {
        b->group.v[3 * g] = group[g].first;
        b->group.v[3 * g + 1] = group[g].count;
        b->group.v[3 * g + 2] = group[g].prefix_len;
    }
    box_put(&b->group);
    b->paged_args.group = group;
    b->paged_args.group_dev = tensor_rows(b->group.t, 0, n);
    b->paged_args.n_group = n;
}

/* The flat keys and values go to their pages, those of the shared prefix once. */
static void fill_pages(Both *b)
{
    for (int s = 0; s < SEQUENCES; s++) {
        const int64_t begin = b->flat[s].ctx_begin + (s > 1 ? PREFIX : 0), n = b->flat[s].own_begin + b->flat[s].q_len - begin;

        CHECK_OK(op_kv_write(b->k.dev, b->k_pages.t, b->v_pages.t, tensor_rows(b->k.t, begin, n), tensor_rows(b->v.t, begin, n),
                             tensor_cols(b->slot.t, begin, n)));
    }
}

static void check_shape(Device *dev, DType dtype, Shape shape)
{
    /* The last one's second group begins with a segment without queries. */
    static const PrefixGroup all[] = {{1, 5, PREFIX}}, some[] = {{0, 1, 0}, {1, 2, PREFIX}, {4, 2, PREFIX}}, empty_first[] = {{1, 2, PREFIX}, {3, 3, PREFIX}};
    static const PrefixGroup *const way[] = {NULL, all, some, empty_first};
    static const int32_t n_group[] = {0, 1, 3, 2};
    Both b = both_new(dev, dtype, shape);
    char what[96];

    both_bind(&b);
    fill_pages(&b);
    CHECK_OK(op_attn(dev, &b.flat_args));
    for (int n = 0; n < 4; n++) {
        snprintf(what, sizeof what, "%s %s, heads %d:%d, window %d, way %d", device_class(dev), dtype_name(dtype), shape.n_head, shape.n_kv_head,
                 shape.window, n);
        if (n > 0)
            CHECK_OK(device_fill_zero(dev, tensor_rows(b.o.t, 3, 340))); /* the rows with segments: nothing may be left from before */
        set_groups(&b, way[n], n_group[n]);
        CHECK_OK(op_attn_cached(dev, &b.paged_args));
        check_same(what, &b.o, &b.flat_o);
    }
    both_free(&b);
}

static void test_attn_cached_has_the_bits_of_flat_attention(void **state)
{
    static const Shape shape[] = {{8, 2, 16, 0}, {1, 1, 32, 0}, {4, 1, 8, 100}, {2, 2, 24, 300}, {7, 1, 80, 0}, {2, 1, 12, 30}};
    static const DType dtype[] = {LT_F32, LT_BF16, LT_F16};

    (void)state;
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        for (int threads = 1; threads <= 4; threads *= 4) {
            Device *dev = box_device(BOX_LEVELS[level], threads);

            for (size_t s = 0; dev != NULL && s < sizeof shape / sizeof *shape; s++)
                check_shape(dev, dtype[s % 3], shape[s]);
            device_close(dev);
        }
    }
}

/* ---- decoding: one query a segment --------------------------------------------------------------------------------------- */

enum { MANY = 300, ALONE = 100, WIDE_PAGES = 1024 };

/* The same queries on both layouts, at made-up positions of the sequences of a Both. The first ALONE share nothing. */
typedef struct Decode {
    Both b;
    Box q, want, got, seg_flat, seg_paged, table;
    AttnSegment flat[MANY];
    CachedSegment paged[MANY];
} Decode;

/* `turn` moves every query to another position of the same sequence. */
static void place_queries(Decode *d, int32_t turn)
{
    for (int32_t i = 0; i < MANY; i++) {
        const int32_t s = i < ALONE ? 0 : 1 + i % (SEQUENCES - 1), len = SEQUENCE[s].past + SEQUENCE[s].q_len, first = i < ALONE ? 0 : PREFIX - 1;
        const int32_t past = first + (i * 31 + turn * 17) % (len - first), row = d->b.flat[s].ctx_begin;

        d->flat[i] = (AttnSegment){i, 1, row, past, row + past};
        d->paged[i] = (CachedSegment){i, 1, past, s};
        for (int f = 0; f < 5; f++)
            d->seg_flat.v[5 * i + f] = ((const int32_t[]){i, 1, row, past, row + past})[f];
        for (int f = 0; f < 4; f++)
            d->seg_paged.v[4 * i + f] = ((const int32_t[]){i, 1, past, s})[f];
    }
    box_put(&d->seg_flat);
    box_put(&d->seg_paged);
}

static void decode_init(Decode *d, Device *dev, DType dtype, Shape s)
{
    TestRandom r = {5};

    d->b = both_new(dev, dtype, s);
    fill_pages(&d->b);
    d->q = box_normal(dev, dtype, MANY, s.n_head * s.size, 0, &r, 2);
    d->want = box_new(dev, dtype, MANY, s.n_head * s.size, 0);
    d->got = box_new(dev, dtype, MANY, s.n_head * s.size, 1);
    d->seg_flat = box_new(dev, LT_I32, MANY, 5, 0);
    d->seg_paged = box_new(dev, LT_I32, MANY, 4, 1);
    d->table = box_new(dev, LT_I32, SEQUENCES, WIDE_PAGES, 0); /* most of it is never read */
    for (int row = 0; row < SEQUENCES; row++)
        for (int p = 0; p < PAGES; p++)
            d->table.v[row * WIDE_PAGES + p] = d->b.table.v[row * PAGES + p];
    box_put(&d->table);
    place_queries(d, 0);
}

static AttnCachedArgs decode_args(const Decode *d, Tensor table, int32_t n)
{
    AttnCachedArgs a = d->b.paged_args;

    a.o = d->got.t;
    a.q = d->q.t;
    a.table = table;
    a.seg = d->paged;
    a.seg_dev = d->seg_paged.t;
    a.n_seg = n;
    a.seg_dev.rows = n;
    return a;
}

/* What op_attn gives for the queries where they are now. */
static void want_decoded(Decode *d)
{
    AttnArgs a = d->b.flat_args;

    a.o = d->want.t;
    a.q = d->q.t;
    a.seg = d->flat;
    a.seg_dev = d->seg_flat.t;
    a.n_seg = MANY;
    CHECK_OK(op_attn(d->q.dev, &a));
}

static void decode_free(Decode *d)
{
    Box *all[] = {&d->q, &d->want, &d->got, &d->seg_flat, &d->seg_paged, &d->table};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        box_free(all[i]);
    both_free(&d->b);
}

/* More sequences than one launch takes, alone and in a group; and a table so wide that the memory for partial results ends before the launch is full. */
static void test_attn_cached_decodes_many_sequences(void **state)
{
    static const PrefixGroup group[] = {{ALONE, MANY - ALONE, PREFIX}};
    static Decode d;

    (void)state;
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev = box_device(BOX_LEVELS[level], 2);

        for (int way = 0; dev != NULL && way < 3; way++) {
            decode_init(&d, dev, way == 0 ? LT_F32 : LT_BF16, (Shape){8, 1, 8, way == 0 ? 100 : 0});
            AttnCachedArgs a = decode_args(&d, way == 2 ? d.table.t : d.b.table.t, MANY);

            want_decoded(&d);
            set_groups(&d.b, group, 1);
            a.group = group;
            a.group_dev = tensor_rows(d.b.group.t, 0, 1);
            a.n_group = way > 0;
            CHECK_OK(op_attn_cached(dev, &a));
            check_same("many sequences", &d.got, &d.want);
            decode_free(&d);
        }
        device_close(dev);
    }
}

/* A recorded call goes by what lies in seg_dev when it is replayed. */
static void test_attn_cached_replays_at_other_positions(void **state)
{
    static Decode d;

    (void)state;
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev = box_device(BOX_LEVELS[level], 2);
        DeviceRecord *record;

        if (dev != NULL && device_can_record(dev)) {
            decode_init(&d, dev, LT_BF16, (Shape){4, 2, 16, 0});
            const AttnCachedArgs a = decode_args(&d, d.b.table.t, MANY);

            CHECK_OK(op_attn_cached(dev, &a));
            CHECK_OK(device_record_begin(dev));
            CHECK_OK(device_record_end(dev, op_attn_cached(dev, &a), &record));
            for (int turn = 0; turn < 3; turn++) {
                place_queries(&d, turn);
                CHECK_OK(device_replay(dev, record));
                want_decoded(&d);
                check_same("replayed", &d.got, &d.want);
            }
            device_record_free(dev, record);
            decode_free(&d);
        }
        device_close(dev);
    }
}

static void test_attn_cached_refuses_groups_that_overlap(void **state)
{
    static const PrefixGroup overlap[2] = {{1, 2, PREFIX}, {2, 2, PREFIX}};
    Device *dev = box_device("generic", 1);
    Both b = both_new(dev, LT_F32, (Shape){2, 1, 8, 0});

    (void)state;
    both_bind(&b);
    fill_pages(&b);
    set_groups(&b, overlap, 2);
    CHECK_FAILS(op_attn_cached(dev, &b.paged_args), LT_E_FAIL, "group 1 begins at segment 2");
    set_groups(&b, overlap, 1);
    for (uint64_t n = 1; n <= 2; n++) { /* the task list, the scratch */
        mem_fail_at(n);
        CHECK_FAILS(op_attn_cached(dev, &b.paged_args), LT_E_NOMEM, NULL);
        mem_fail_at(0);
    }
    CHECK_OK(op_attn_cached(dev, &b.paged_args));
    both_free(&b);
    device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attn_cached_has_the_bits_of_flat_attention),
        cmocka_unit_test(test_attn_cached_decodes_many_sequences),
        cmocka_unit_test(test_attn_cached_replays_at_other_positions),
        cmocka_unit_test(test_attn_cached_refuses_groups_that_overlap),
    };

    return TEST_MAIN(tests);
}
