#include "model/kvcache.h"

#include "kernels/ops.h"
#include "tests/check.h"
#include "tests/ref_model.h"

enum { PAGES = 6 };

typedef struct World {
    Device *dev;
    Model *model;
    KvCache cache;
} World;

static World world_open(DType dtype)
{
    const ModelConfig cfg = ref_model_config();
    World w;

    CHECK_OK(device_open(&w.dev, "cpu", 1));
    CHECK_OK(model_random(&w.model, w.dev, &cfg, dtype, 1));
    CHECK_OK(kvcache_open(&w.cache, w.model, PAGES));
    return w;
}

static void world_close(World *w)
{
    assert_int_equal(w->cache.n_free, PAGES); /* whoever took a page gave it back */
    kvcache_close(&w->cache);
    model_free(w->model);
    device_close(w->dev);
}

static unsigned char *page_bytes(Tensor pool, int32_t page, size_t *n)
{
    *n = (size_t)KV_PAGE * (size_t)pool.cols * dtype_bytes(pool.dtype);
    return (unsigned char *)pool.data + (size_t)page * *n;
}

/* A page's bytes become functions of `mark`, different in every layer and pool. */
static void mark_page(KvCache *c, int32_t page, int mark)
{
    for (int32_t i = 0; i < 2 * c->n_layer; i++) {
        size_t n;
        unsigned char *bytes = page_bytes(i % 2 ? c->v[i / 2] : c->k[i / 2], page, &n);

        for (size_t k = 0; k < n; k++)
            bytes[k] = (unsigned char)(mark * 31 + i * 7 + (int)k);
    }
}

static void check_page(KvCache *c, int32_t page, int mark)
{
    for (int32_t i = 0; i < 2 * c->n_layer; i++) {
        size_t n;
        const unsigned char *bytes = page_bytes(i % 2 ? c->v[i / 2] : c->k[i / 2], page, &n);

        for (size_t k = 0; k < n; k++)
            if (bytes[k] != (unsigned char)(mark * 31 + i * 7 + (int)k))
                fail_msg("page %d, pool %d, byte %zu: not what was written as %d", page, i, k, mark);
    }
}

static void grow(World *w, KvSequence *s, int n, int mark)
{
    for (int i = 0; i < n; i++) {
        assert_true(kvseq_grow(&w->cache, s));
        mark_page(&w->cache, s->page[s->n_page - 1], mark + i);
    }
}

static void test_kvcache_forks_share_whole_pages(void **state)
{
    World w = world_open(LT_F32);
    KvSequence a, b, c;

    (void)state;
    CHECK_OK(kvseq_open(&a, 4));
    CHECK_OK(kvseq_open(&b, 4));
    CHECK_OK(kvseq_open(&c, 4));
    grow(&w, &a, 3, 1);
    CHECK_OK(kvseq_fork(&w.cache, &b, &a, 2 * KV_PAGE + 5));
    assert_int_equal(b.n_page, 3);
    assert_true(b.page[0] == a.page[0] && b.page[1] == a.page[1] && b.page[2] != a.page[2]);
    check_page(&w.cache, b.page[2], 3);
    mark_page(&w.cache, b.page[2], 9); /* b's own now */
    check_page(&w.cache, a.page[2], 3);
    CHECK_OK(kvseq_fork(&w.cache, &c, &a, 2 * KV_PAGE)); /* ends with a page: nothing to copy */
    assert_int_equal(c.n_page, 2);
    assert_int_equal(w.cache.n_free, PAGES - 4);
    assert_int_equal(kvseq_n_shared(&w.cache, &a), 2);
    kvseq_close(&w.cache, &a);
    check_page(&w.cache, c.page[1], 2); /* still held by two */
    kvseq_close(&w.cache, &c);
    assert_int_equal(kvseq_n_shared(&w.cache, &b), 0);
    kvseq_close(&w.cache, &b);
    world_close(&w);
}

static void test_kvcache_pages_come_back_as_they_were(void **state)
{
    World w = world_open(LT_BF16);
    KvSequence a, b;

    (void)state;
    CHECK_OK(kvseq_open(&a, 4));
    CHECK_OK(kvseq_open(&b, 6));
    grow(&w, &a, 4, 10);
    CHECK_OK(kvseq_page_out(&w.cache, &a, 1));
    assert_int_equal(a.n_here, 1);
    assert_int_equal(w.cache.n_free, PAGES - 1);
    grow(&w, &b, 4, 50);
    assert_int_equal(w.cache.n_free, 1);
    CHECK_OK(kvseq_page_in(&w.cache, &a));
    assert_int_equal(a.n_here, 1); /* no room: as before */
    CHECK_OK(kvseq_page_out(&w.cache, &a, 0)); /* further out */
    kvseq_close(&w.cache, &b);
    CHECK_OK(kvseq_page_in(&w.cache, &a));
    assert_true(kvseq_is_here(&a));
    for (int i = 0; i < 4; i++)
        check_page(&w.cache, a.page[i], 10 + i);
    kvseq_close(&w.cache, &a);
    world_close(&w);
}

static void test_kvcache_forks_without_room_go_to_the_host(void **state)
{
    World w = world_open(LT_F32);
    KvSequence a, b;

    (void)state;
    CHECK_OK(kvseq_open(&a, PAGES));
    CHECK_OK(kvseq_open(&b, PAGES));
    grow(&w, &a, PAGES, 1);
    assert_false(kvseq_grow(&w.cache, &(KvSequence){.cap = 1, .page = (int32_t[1]){0}}));
    CHECK_OK(kvseq_fork(&w.cache, &b, &a, PAGES * KV_PAGE - 1));
    assert_int_equal(b.n_here, PAGES - 1);
    assert_false(kvseq_is_here(&b));
    mark_page(&w.cache, a.page[PAGES - 1], 77); /* a goes on */
    kvseq_close(&w.cache, &a);
    CHECK_OK(kvseq_page_in(&w.cache, &b));
    for (int i = 0; i < PAGES; i++)
        check_page(&w.cache, b.page[i], 1 + i);
    kvseq_close(&w.cache, &b);
    world_close(&w);
}

static void test_kvcache_survives_lack_of_memory(void **state)
{
    World w = world_open(LT_F32);
    KvCache cache;
    KvSequence a;
    Status st = LT_E_NOMEM;

    (void)state;
    for (uint64_t n = 1; st != LT_OK; n++) {
        const int64_t held = mem_held();

        mem_fail_at(n);
        st = kvcache_open(&cache, w.model, 3);
        mem_fail_at(0);
        if (st == LT_OK)
            kvcache_close(&cache);
        else
            CHECK_FAILS(st, LT_E_NOMEM, NULL);
        assert_int_equal(mem_held(), held);
    }
    CHECK_OK(kvseq_open(&a, 3));
    grow(&w, &a, 3, 5);
    mem_fail_at(2);
    CHECK_FAILS(kvseq_page_out(&w.cache, &a, 0), LT_E_NOMEM, NULL);
    mem_fail_at(0);
    assert_int_equal(a.n_here, 2); /* one is out, the others are here */
    CHECK_OK(kvseq_page_in(&w.cache, &a));
    for (int i = 0; i < 3; i++)
        check_page(&w.cache, a.page[i], 5 + i);
    kvseq_close(&w.cache, &a);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kvcache_forks_share_whole_pages),
        cmocka_unit_test(test_kvcache_pages_come_back_as_they_were),
        cmocka_unit_test(test_kvcache_forks_without_room_go_to_the_host),
        cmocka_unit_test(test_kvcache_survives_lack_of_memory),
    };

    return TEST_MAIN(tests);
}
