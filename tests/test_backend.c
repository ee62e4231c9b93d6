/* The tables, slot by slot: what each backend lacks, by name. Filling a slot or losing one fails here until the list says so too; an op that is
 * not there says that it is not there. */
#include "tests/check.h"

#include "kernels/backend.h"
#include "kernels/ops.h"

#include <stdio.h>
#include <string.h>

typedef Status Door(Device *dev);

typedef struct Slot {
    const char *name;
    size_t at;
    Door *door; /* the op with arguments that mean nothing; NULL: not an op */
} Slot;

static const Tensor none;

static Status door_gemm(Device *dev) { return op_gemm(dev, &(GemmArgs){0}); }
static Status door_gemm_pack(Device *dev) { return op_gemm_pack(dev, none, none, GEMM_WIDE); }
static Status door_embed(Device *dev) { return op_embed(dev, none, none, none); }
static Status door_embed_grad(Device *dev) { return op_embed_grad(dev, none, none, none, none, none); }
static Status door_gather(Device *dev) { return op_gather(dev, none, none, none); }
static Status door_scatter(Device *dev) { return op_scatter(dev, none, none, none); }
static Status door_bias_grad(Device *dev) { return op_bias_grad(dev, none, none); }
static Status door_rmsnorm(Device *dev) { return op_rmsnorm(dev, none, none, none, none, 1e-5f); }
static Status door_rmsnorm_grad(Device *dev) { return op_rmsnorm_grad(dev, none, none, none, none, none, none, 0.0f); }
static Status door_rope(Device *dev) { return op_rope(dev, none, none, none, none, 1); }
static Status door_swiglu(Device *dev) { return op_swiglu(dev, none, none); }
static Status door_swiglu_grad(Device *dev) { return op_swiglu_grad(dev, none, none, none); }
static Status door_dropout(Device *dev) { return op_dropout(dev, none, none, 0.1f, &(DropoutKey){0}); }
static Status door_axpy(Device *dev) { return op_axpy(dev, none, none, 1.0f); }
static Status door_sub(Device *dev) { return op_sub(dev, none, none, none); }
static Status door_scale(Device *dev) { return op_scale(dev, none, 1.0f); }
static Status door_cast(Device *dev) { return op_cast(dev, none, none); }
static Status door_attn(Device *dev) { return op_attn(dev, &(AttnArgs){0}); }
static Status door_attn_grad(Device *dev) { return op_attn_grad(dev, &(AttnGradArgs){0}); }
static Status door_kv_write(Device *dev) { return op_kv_write(dev, none, none, none, none, none); }
static Status door_attn_cached(Device *dev) { return op_attn_cached(dev, &(AttnCachedArgs){0}); }
static Status door_xent(Device *dev) { return op_xent(dev, none, none, none, none, none); }
static Status door_logprob(Device *dev) { return op_logprob(dev, none, none, none, none, none); }
static Status door_argmax(Device *dev) { return op_argmax(dev, none, none); }
static Status door_sample(Device *dev) { return op_sample(dev, none, none, none, none); }
static Status door_sumsq(Device *dev) { return op_sumsq(dev, none, none); }
static Status door_adamw(Device *dev) { return op_adamw(dev, &(OptimArgs){0}); }
static Status door_lion(Device *dev) { return op_lion(dev, &(OptimArgs){0}); }
static Status door_gram_values(Device *dev) { return op_gram_values(dev, NULL, none); }
static Status door_svd_values(Device *dev) { return op_svd_values(dev, NULL, none); }
static Status door_svd(Device *dev) { return op_svd(dev, none, NULL, none, none); }
static Status door_qr(Device *dev) { return op_qr(dev, none, none, none); }

#define OP(slot) {#slot, offsetof(Backend, slot), door_##slot}
#define OTHER(slot) {#slot, offsetof(Backend, slot), NULL}

static const Slot SLOT[] = {
    OTHER(open),
    OTHER(close),
    OTHER(alloc),
    OTHER(release),
    OTHER(upload),
    OTHER(download),
    OTHER(copy),
    OTHER(fill_zero),
    OTHER(sync),
    OTHER(memory),
    OTHER(mark),
    OTHER(elapsed),
    OTHER(record_begin),
    OTHER(record_end),
    OTHER(replay),
    OTHER(record_free),
    OP(gemm),
    OTHER(gemm_pack_bytes),
    OP(gemm_pack),
    OP(embed),
    OP(embed_grad),
    OP(gather),
    OP(scatter),
    OP(bias_grad),
    OP(rmsnorm),
    OP(rmsnorm_grad),
    OP(rope),
    OP(swiglu),
    OP(swiglu_grad),
    OP(dropout),
    OP(axpy),
    OP(sub),
    OP(scale),
    OP(cast),
    OP(attn),
    OP(attn_grad),
    OP(kv_write),
    OP(attn_cached),
    OP(xent),
    OP(logprob),
    OP(argmax),
    OP(sample),
    OP(sumsq),
    OP(adamw),
    OP(lion),
    OP(gram_values),
    OP(svd_values),
    OP(svd),
    OP(qr),
};
enum { N_SLOT = sizeof SLOT / sizeof *SLOT };

/* Only what can record has calls to replay. */
static const char *const CPU_LACKS[] = {"record_begin", "record_end", "replay", "record_free", NULL};
/* cuBLASLt reads weights as they lie. */
static const char *const CUDA_LACKS[] = {"gemm_pack_bytes", "gemm_pack", NULL};

/* Linked where the build has it. */
extern const Backend backend_cuda __attribute__((weak));

static bool is_filled(const Backend *table, const Slot *slot)
{
    static const char empty[sizeof(void *)];

    return memcmp((const char *)table + slot->at, empty, sizeof empty) != 0;
}

static bool is_listed(const char *const *list, const char *name)
{
    while (*list != NULL && strcmp(*list, name) != 0)
        list++;
    return *list != NULL;
}

static void check_table(const Backend *table, const char *const *lacks)
{
    for (int i = 0; i < N_SLOT; i++)
        if (is_filled(table, &SLOT[i]) == is_listed(lacks, SLOT[i].name))
            fail_msg("%s: slot '%s' is %s, the list says otherwise", table->name, SLOT[i].name, is_filled(table, &SLOT[i]) ? "filled" : "empty");
}

static void test_backend_lists_every_slot(void **state)
{
    (void)state;
    assert_int_equal(N_SLOT * sizeof(void (*)(void)), sizeof(Backend) - offsetof(Backend, open));
    for (int i = 0; i < N_SLOT; i++)
        assert_int_equal(SLOT[i].at, offsetof(Backend, open) + (size_t)i * sizeof(void (*)(void)));
}

static void test_backends_have_the_slots_they_should(void **state)
{
    (void)state;
    check_table(&backend_cpu, CPU_LACKS);
    if (&backend_cuda == NULL)
        test_skip("this build has no CUDA backend");
    check_table(&backend_cuda, CUDA_LACKS);
}

/* On the device under test. */
static void test_backend_empty_slots_answer_unsupported(void **state)
{
    char text[96];
    Device *dev;

    (void)state;
    CHECK_OK(device_open(&dev, test_device(), 1));
    for (int i = 0; i < N_SLOT; i++)
        if (!is_filled(dev->table, &SLOT[i]) && SLOT[i].door != NULL) {
            snprintf(text, sizeof text, "the %s backend has no kernel for %s", device_backend(dev), SLOT[i].name);
            CHECK_FAILS(SLOT[i].door(dev), LT_E_UNSUPPORTED, text);
        }
    if (!device_can_record(dev))
        CHECK_FAILS(device_record_begin(dev), LT_E_UNSUPPORTED, "the cpu backend cannot record");
    device_close(dev);
}

/* With a table that has nothing, every front door has to notice: none may run into a null pointer. */
static void test_backend_every_front_door_looks_at_its_slot(void **state)
{
    Backend nothing = backend_cpu;
    Device *dev;

    (void)state;
    CHECK_OK(device_open(&dev, "cpu", 1));
    memset((char *)&nothing + offsetof(Backend, gemm), 0, sizeof nothing - offsetof(Backend, gemm));
    dev->table = &nothing;
    for (int i = 0; i < N_SLOT; i++)
        if (SLOT[i].door != NULL)
            CHECK_FAILS(SLOT[i].door(dev), LT_E_UNSUPPORTED, SLOT[i].name);
    assert_int_equal(op_gemm_pack_bytes(dev, tensor_of(&nothing, LT_BF16, 4, 4), GEMM_NARROW), 0);
    dev->table = &backend_cpu;
    device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backend_lists_every_slot),
        cmocka_unit_test(test_backends_have_the_slots_they_should),
        cmocka_unit_test(test_backend_empty_slots_answer_unsupported),
        cmocka_unit_test(test_backend_every_front_door_looks_at_its_slot),
    };

    return TEST_MAIN(tests);
}
