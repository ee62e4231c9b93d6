#include "kernels/cpu/gemm_onednn.h"

#include "core/mem.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <string.h>

/* Plans by hash, WAYS to a bucket; the one longest unused makes room. One op holds fewer than WAYS at a time. */
enum { BUCKETS = 64, WAYS = 8 };

enum { SIDE_A, SIDE_B, SIDE_C, SIDE_SCRATCH, SIDES };

typedef struct ThreadMemory {
    dnnl_memory_t side[SIDES]; /* shapes only; the addresses change from call to call */
} ThreadMemory;

struct OneDnnPlan {
    OneDnnKey key;
    uint64_t used; /* 0: empty */
    dnnl_primitive_t primitive; /* NULL: known to have no kernel we take */
    ThreadMemory *memory; /* [n_thread] */
    size_t scratch_bytes;
};

struct OneDnn {
    dnnl_engine_t engine;
    dnnl_stream_t *stream; /* [n_thread] */
    int n_thread;
    uint64_t clock;
    OneDnnPlan plan[BUCKETS][WAYS];
};

#define TRY_DNNL(call)                                                                                                 \
    do {                                                                                                               \
        const dnnl_status_t try_dnnl_ = (call);                                                                        \
        if (try_dnnl_ != dnnl_success)                                                                                 \
            return FAIL(try_dnnl_ == dnnl_out_of_memory ? LT_E_NOMEM : LT_E_DEVICE, "onednn: " #call " gives %d", (int)try_dnnl_); \
    } while (0)

void onednn_name(char *out, size_t bytes)
{
    const dnnl_version_t *v = dnnl_version();

    snprintf(out, bytes, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
}

/* ---- what differs between 2.x and 3.x: descriptors became handles, and the operation descriptor went away ------------------ */

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t Desc;
typedef const_dnnl_memory_desc_t DescHandle;

static dnnl_status_t desc_make(Desc *d, const dnnl_dims_t dims, dnnl_data_type_t type, const dnnl_dims_t strides)
{
    return dnnl_memory_desc_create_with_strides(d, 2, dims, type, strides);
}

static void desc_free(Desc d)
{
    if (d != NULL)
        dnnl_memory_desc_destroy(d);
}

static DescHandle desc_handle(const Desc *d) { return *d; }

static dnnl_status_t matmul_desc(dnnl_primitive_desc_t *pd, const Desc *d, const_dnnl_primitive_attr_t attr, dnnl_engine_t engine)
{
    return dnnl_matmul_primitive_desc_create(pd, engine, d[SIDE_A], d[SIDE_B], NULL, d[SIDE_C], attr);
}
#else
typedef dnnl_memory_desc_t Desc;
typedef const dnnl_memory_desc_t *DescHandle;

static dnnl_status_t desc_make(Desc *d, const dnnl_dims_t dims, dnnl_data_type_t type, const dnnl_dims_t strides)
{
    return dnnl_memory_desc_init_by_strides(d, 2, dims, type, strides);
}

static void desc_free(Desc d) { (void)d; }

static DescHandle desc_handle(const Desc *d) { return d; }

static dnnl_status_t matmul_desc(dnnl_primitive_desc_t *pd, const Desc *d, const_dnnl_primitive_attr_t attr, dnnl_engine_t engine)
{
    dnnl_matmul_desc_t op;
    const dnnl_status_t st = dnnl_matmul_desc_init(&op, &d[SIDE_A], &d[SIDE_B], NULL, &d[SIDE_C]);

    return st != dnnl_success ? st : dnnl_primitive_desc_create(pd, &op, attr, engine, NULL);
}
#endif

/* ---- the library ---------------------------------------------------------------------------------------------------------- */

static Status open_engine(OneDnn *lib)
{
    /* A process can say this once only, before its first primitive; where somebody else did, their word stands and the check of
     * the implementation's name decides. */
    (void)dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx512_core_bf16);
    TRY_DNNL(dnnl_engine_create(&lib->engine, dnnl_cpu, 0));
    for (int i = 0; i < lib->n_thread; i++)
        TRY_DNNL(dnnl_stream_create(&lib->stream[i], lib->engine, dnnl_stream_default_flags));
    return LT_OK;
}

Status onednn_open(OneDnn **out, CpuLevel level, int n_thread)
{
    OneDnn *lib;
    Status st;

    *out = NULL;
    if (level < CPU_AVX512)
        return LT_OK;
    TRY(MEM_NEW(lib, 1));
    lib->n_thread = n_thread;
    TRY_GOTO(MEM_NEW(lib->stream, (size_t)n_thread), st, fail);
    TRY_GOTO(open_engine(lib), st, fail);
    *out = lib;
    return LT_OK;
fail:
    onednn_close(lib);
    return st;
}

static void plan_release(OneDnnPlan *plan, int n_thread)
{
    for (int i = 0; i < n_thread && plan->memory != NULL; i++)
        for (int side = 0; side < SIDES; side++)
            if (plan->memory[i].side[side] != NULL)
                dnnl_memory_destroy(plan->memory[i].side[side]);
    mem_free(plan->memory);
    if (plan->primitive != NULL)
        dnnl_primitive_destroy(plan->primitive);
    *plan = (OneDnnPlan){0};
}

void onednn_close(OneDnn *lib)
{
    if (lib == NULL)
        return;
    for (int i = 0; i < BUCKETS; i++)
        for (int j = 0; j < WAYS; j++)
            plan_release(&lib->plan[i][j], lib->n_thread);
    for (int i = 0; i < lib->n_thread && lib->stream != NULL; i++)
        if (lib->stream[i] != NULL)
            dnnl_stream_destroy(lib->stream[i]);
    if (lib->engine != NULL)
        dnnl_engine_destroy(lib->engine);
    mem_free(lib->stream);
    mem_free(lib);
}

/* ---- plans ---------------------------------------------------------------------------------------------------------------- */

/* brgemm on AVX-512 proper; the names are "brg:avx512_core_bf16" in 2.x, "brg_matmul:avx512_core_bf16" in 3.x. */
static bool is_taken(const char *name) { return strncmp(name, "brg", 3) == 0 && strstr(name, "avx512_core") != NULL && strstr(name, "amx") == NULL; }

/* The primitive and its memory objects, if the implementation behind `pd` is one we take. */
static Status plan_build(OneDnn *lib, OneDnnPlan *plan, const Desc *desc, const_dnnl_primitive_desc_t pd)
{
    DescHandle scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    const char *name = "";

    TRY_DNNL(dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name));
    if (!is_taken(name))
        return LT_OK;
    TRY(MEM_NEW(plan->memory, (size_t)lib->n_thread));
    for (int i = 0; i < lib->n_thread; i++) {
        dnnl_memory_t *side = plan->memory[i].side;

        for (int s = SIDE_A; s <= SIDE_C; s++)
            TRY_DNNL(dnnl_memory_create(&side[s], desc_handle(&desc[s]), lib->engine, DNNL_MEMORY_NONE));
        TRY_DNNL(dnnl_memory_create(&side[SIDE_SCRATCH], scratch, lib->engine, DNNL_MEMORY_NONE));
    }
    plan->scratch_bytes = dnnl_memory_desc_get_size(scratch);
    TRY_DNNL(dnnl_primitive_create(&plan->primitive, pd));
    return LT_OK;
}

static Status plan_attempt(OneDnn *lib, OneDnnPlan *plan, const Desc *desc, dnnl_primitive_attr_t attr)
{
    dnnl_primitive_desc_t pd = NULL;
    const dnnl_status_t made = matmul_desc(&pd, desc, attr, lib->engine);
    Status st;

    if (made == dnnl_unimplemented)
        return LT_OK;
    TRY_DNNL(made);
    st = plan_build(lib, plan, desc, pd);
    dnnl_primitive_desc_destroy(pd);
    return st;
}

static Status plan_make(OneDnn *lib, OneDnnPlan *plan, const OneDnnKey *key)
{
    const dnnl_data_type_t type = key->dtype == LT_BF16 ? dnnl_bf16 : dnnl_f32;
    const dnnl_dims_t a = {key->m, key->k}, a_step = {key->k, 1}, b = {key->k, key->n}, c = {key->m, key->n}, c_step = {key->n, 1};
    const dnnl_dims_t b_step = {key->b_k_contiguous ? 1 : key->n, key->b_k_contiguous ? key->k : 1};
    dnnl_primitive_attr_t attr = NULL;
    Desc desc[SIDES];
    Status st = LT_OK;

    memset(desc, 0, sizeof desc);
    *plan = (OneDnnPlan){.key = *key};
    if (desc_make(&desc[SIDE_A], a, type, a_step) != dnnl_success || desc_make(&desc[SIDE_B], b, type, b_step) != dnnl_success ||
        desc_make(&desc[SIDE_C], c, dnnl_f32, c_step) != dnnl_success || dnnl_primitive_attr_create(&attr) != dnnl_success ||
        dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) != dnnl_success)
        st = FAIL(LT_E_DEVICE, "onednn: cannot describe a product of [%lld, %lld] and [%lld, %lld]", (long long)key->m, (long long)key->k,
                  (long long)key->k, (long long)key->n);
    if (st == LT_OK)
        st = plan_attempt(lib, plan, desc, attr);
    if (attr != NULL)
        dnnl_primitive_attr_destroy(attr);
    for (int s = SIDE_A; s <= SIDE_C; s++)
        desc_free(desc[s]);
    if (st != LT_OK)
        plan_release(plan, lib->n_thread);
    return st;
}

static bool key_equal(const OneDnnKey *a, const OneDnnKey *b)
{
    return a->m == b->m && a->n == b->n && a->k == b->k && a->dtype == b->dtype && a->b_k_contiguous == b->b_k_contiguous &&
           a->n_thread == b->n_thread;
}

static uint64_t key_hash(const OneDnnKey *key)
{
    uint64_t h = (uint64_t)key->m;

    h = h * 0x9e3779b97f4a7c15u + (uint64_t)key->n;
    h = h * 0x9e3779b97f4a7c15u + (uint64_t)key->k;
    h = h * 0x9e3779b97f4a7c15u + (uint64_t)key->dtype * 2 + (uint64_t)key->b_k_contiguous;
    return h * 0x9e3779b97f4a7c15u >> 32;
}

Status onednn_plan(OneDnn *lib, const OneDnnKey *key, OneDnnPlan **out)
{
    OneDnnPlan *way = lib->plan[key_hash(key) % BUCKETS], *oldest = way;
    OneDnnPlan fresh;

    lib->clock++;
    for (int i = 0; i < WAYS; i++) {
        if (way[i].used != 0 && key_equal(&way[i].key, key)) {
            way[i].used = lib->clock;
            *out = way[i].primitive == NULL ? NULL : &way[i];
            return LT_OK;
        }
        if (way[i].used < oldest->used)
            oldest = &way[i];
    }
    omp_set_num_threads(key->n_thread); /* the library asks for it when it makes the primitive */
    TRY(plan_make(lib, &fresh, key));
    plan_release(oldest, lib->n_thread);
    *oldest = fresh;
    oldest->used = lib->clock;
    *out = oldest->primitive == NULL ? NULL : oldest;
    return LT_OK;
}

size_t onednn_scratch_bytes(const OneDnnPlan *plan) { return plan->scratch_bytes; }

Status onednn_run(OneDnn *lib, OneDnnPlan *plan, int thread, float *sums, const void *a, const void *b, void *scratch)
{
    dnnl_memory_t *side = plan->memory[thread].side;
    const dnnl_exec_arg_t arg[] = {{DNNL_ARG_SRC, side[SIDE_A]},
                                   {DNNL_ARG_WEIGHTS, side[SIDE_B]},
                                   {DNNL_ARG_DST, side[SIDE_C]},
                                   {DNNL_ARG_SCRATCHPAD, side[SIDE_SCRATCH]}};

    omp_set_num_threads(plan->key.n_thread); /* a setting of each thread, and other plans may have changed it */
    /* The library's handles are not const; it only reads A and B. */
    TRY_DNNL(dnnl_memory_set_data_handle(side[SIDE_A], (void *)(uintptr_t)a));
    TRY_DNNL(dnnl_memory_set_data_handle(side[SIDE_B], (void *)(uintptr_t)b));
    TRY_DNNL(dnnl_memory_set_data_handle(side[SIDE_C], sums));
    TRY_DNNL(dnnl_memory_set_data_handle(side[SIDE_SCRATCH], scratch));
    TRY_DNNL(dnnl_primitive_execute(plan->primitive, lib->stream[thread], (int)(sizeof arg / sizeof *arg), arg));
    return LT_OK;
}
