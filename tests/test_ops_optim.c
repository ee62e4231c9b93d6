/* AdamW and Lion: each step against double precision from where the device stands, many steps against double precision from the start, and the same
 * bits on every device, whatever the form of the master, the place and the company. */
#include "kernels/ops.h"

#include "core/half.h"
#include "tests/check.h"
#include "tests/ref_optim.h"
#include "tests/tensor_box.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double EPS = 0x1p-24; /* half a unit of F32, relative */

typedef struct Form {
    const char *name;
    bool split, has_weight;
    DType weight, state;
} Form;

enum { ALONE, ALONE_BF16, WEIGHT_BF16, WEIGHT_F16, WEIGHT_F32, SPLIT, SPLIT_BF16, N_FORM };
static const Form FORMS[N_FORM] = {
    [ALONE] = {"master alone", false, false, LT_F32, LT_F32},
    [ALONE_BF16] = {"master alone, bf16 moments", false, false, LT_F32, LT_BF16},
    [WEIGHT_BF16] = {"master and bf16 weight", false, true, LT_BF16, LT_F32},
    [WEIGHT_F16] = {"master and f16 weight, bf16 moments", false, true, LT_F16, LT_BF16},
    [WEIGHT_F32] = {"master and f32 weight", false, true, LT_F32, LT_F32},
    [SPLIT] = {"split master", true, true, LT_BF16, LT_F32},
    [SPLIT_BF16] = {"split master, bf16 moments", true, true, LT_BF16, LT_BF16},
};

/* Tiles: 4 elements a thread, 256 threads a block; 512 a piece, 4096 a task. */
static const int64_t SHAPES[][2] = {{1, 1},   {1, 3},    {5, 4},    {3, 5},    {2, 17},   {3, 511},
                                    {2, 512}, {1, 1023}, {1, 1024}, {4, 1025}, {2, 3077}, {1, 4097}};
enum { N_SHAPE = sizeof SHAPES / sizeof *SHAPES };

typedef Status (*OptimOp)(Device *, const OptimArgs *);

/* One parameter. Its tensors are columns shift.. of the boxes, so that rows begin where no vector does. */
typedef struct Parameter {
    const Form *form;
    Box master, low, weight, grad, m, v;
    OptimArgs args;
    int64_t shift;
} Parameter;

static Tensor columns(const Parameter *p, const Box *b) { return tensor_cols(b->t, p->shift, b->t.cols - p->shift); }

static void fill(Box *b, double scale, bool positive, TestRandom *r)
{
    for (int64_t i = 0; i < b->t.rows * b->t.cols; i++) {
        const double x = scale * test_normal(r);

        b->v[i] = positive ? x * x : x;
    }
    box_put(b);
}

/* pad and shift: multiples of 4 or not. Contents depend on the shape of the boxes alone. */
static Parameter parameter_new(Device *dev, const Form *form, int64_t rows, int64_t cols, int64_t pad, int64_t shift)
{
    TestRandom r = {(uint64_t)(rows * 10007 + cols)};
    const int64_t all = cols + shift;
    Parameter p = {.form = form, .shift = shift};

    p.master = box_new(dev, LT_F32, rows, all, pad);
    p.low = box_new(dev, LT_U16, rows, all, pad);
    p.weight = box_new(dev, form->weight, rows, all, pad);
    p.grad = box_new(dev, LT_F32, rows, all, pad);
    p.m = box_new(dev, form->state, rows, all, pad);
    p.v = box_new(dev, form->state, rows, all, pad);
    fill(&p.weight, 0.1, false, &r);
    for (int64_t i = 0; i < rows * all; i++) {
        p.master.v[i] = p.weight.v[i];
        p.low.v[i] = 0;
    }
    box_put(&p.master);
    box_put(&p.low);
    fill(&p.m, 0.01, false, &r);
    fill(&p.v, 0.02, true, &r);
    p.args = (OptimArgs){.grad = columns(&p, &p.grad),
                         .m = columns(&p, &p.m),
                         .v = columns(&p, &p.v),
                         .lr = 0.01f,
                         .beta1 = 0.9f,
                         .beta2 = 0.999f,
                         .eps = 1e-8f,
                         .decay = 1e-3f,
                         .grad_scale = 0.75f,
                         .step = 0};
    if (form->split)
        p.args.low = columns(&p, &p.low);
    else
        p.args.master = columns(&p, &p.master);
    if (form->has_weight)
        p.args.weight = columns(&p, &p.weight);
    return p;
}

static void parameter_free(Parameter *p)
{
    Box *all[] = {&p->master, &p->low, &p->weight, &p->grad, &p->m, &p->v};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        box_free(all[i]);
}

/* Step t's gradient, the same for whoever asks. */
static void parameter_step(Parameter *p, OptimOp op, int64_t t)
{
    TestRandom r = {(uint64_t)t};

    fill(&p->grad, t % 3 == 0 ? 0.2 : 0.02, false, &r);
    p->args.step = t;
    CHECK_OK(op(p->grad.dev, &p->args));
}

/* Fetches everything; the master of a split one is put together from its halves. */
static void parameter_get(Parameter *p)
{
    box_get(&p->master);
    box_get(&p->low);
    box_get(&p->weight);
    box_get(&p->m);
    box_get(&p->v);
    for (int64_t i = 0; p->form->split && i < p->master.t.rows * p->master.t.cols; i++) {
        const uint32_t bits = ((uint32_t)f32_to_bf16((float)p->weight.v[i]) << 16) + (uint32_t)(int32_t)(int16_t)p->low.v[i];
        float f;

        memcpy(&f, &bits, sizeof f);
        p->master.v[i] = (double)f;
    }
}

static void at_all_levels(void (*check)(Device *dev))
{
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev = box_device(BOX_LEVELS[level], 2);

        if (dev != NULL)
            check(dev);
        device_close(dev);
    }
}

/* ---- one step -------------------------------------------------------------------------------------------------------------- */

typedef struct Element {
    double p, m, v;
} Element;

/* What rounding may cost, by the formula's own terms: each of its operations and constants is good to EPS. */
static void check_adamw_element(const char *what, Element got, Element old, double grad, const Parameter *p)
{
    const OptimArgs *o = &p->args;
    const double g = fabs(grad * (double)o->grad_scale), m_terms = (double)o->beta1 * fabs(old.m) + (1 - (double)o->beta1) * g;
    const double wide = p->form->state == LT_BF16 ? 1 : 0;
    double scale;
    Element want = old;

    ref_adamw(&want.p, &want.m, &want.v, grad, o);
    scale = (double)o->lr / (1 - pow((double)o->beta1, (double)o->step)) /
            (sqrt(want.v / (1 - pow((double)o->beta2, (double)o->step))) + (double)o->eps);
    check_close(what, got.p, want.p, 3 * EPS * fabs(old.p) + scale * 16 * EPS * m_terms, 0);
    check_close(what, got.m, want.m, 4 * EPS * m_terms, wide * 0x1p-8);       /* to nearest */
    check_close(what, got.v, want.v, 0, wide * 0x1p-7 + (1 - wide) * 5 * EPS); /* either neighbour */
}

static void check_lion_element(const char *what, Element got, Element old, double grad, const Parameter *p)
{
    const OptimArgs *o = &p->args;
    const double g = fabs(grad * (double)o->grad_scale), terms = fabs(old.m) + 2 * g;
    Element want = old;
    const double u = ref_lion(&want.p, &want.m, grad, o);

    if (fabs(u) > 4 * EPS * terms) /* else rounding may choose the sign */
        check_close(what, got.p, want.p, 3 * EPS * (fabs(old.p) + (double)o->lr), 0);
    check_close(what, got.m, want.m, 4 * EPS * terms, p->form->state == LT_BF16 ? 0x1p-8 : 0);
    assert_true(got.v == old.v);
}

/* The model reads the master rounded to nearest. */
static void check_weight(const char *what, const Parameter *p, int64_t i)
{
    const double master = p->master.v[i], weight = p->weight.v[i];

    if (p->form->split)
        assert_true(fabs(weight - master) <= fabs(box_round(LT_BF16, master) - master)); /* a half may go either way */
    else if (p->form->has_weight && weight != box_round(p->form->weight, master))
        fail_msg("%s: weight %.9g, master %.9g", what, weight, master);
}

static void check_steps(Device *dev, const Form *form, OptimOp op, int64_t rows, int64_t cols, int64_t pad, int64_t shift)
{
    enum { STEPS = 3 };
    Parameter p = parameter_new(dev, form, rows, cols, pad, shift);
    const int64_t all = cols + shift;
    Element *old = calloc((size_t)(rows * all), sizeof *old);
    char what[160];

    assert_non_null(old);
    for (int64_t t = 1; t <= STEPS; t++) {
        parameter_get(&p);
        for (int64_t i = 0; i < rows * all; i++)
            old[i] = (Element){p.master.v[i], p.m.v[i], p.v.v[i]};
        parameter_step(&p, op, t);
        parameter_get(&p);
        for (int64_t i = 0; i < rows * all; i++) {
            const Element got = {p.master.v[i], p.m.v[i], p.v.v[i]};

            if (i % all < shift) { /* not part of the parameter */
                assert_true(got.p == old[i].p && got.m == old[i].m && got.v == old[i].v);
                continue;
            }
            snprintf(what, sizeof what, "%s, %s, [%lld, %lld], step %lld, element %lld", device_class(dev), form->name, (long long)rows,
                     (long long)cols, (long long)t, (long long)i);
            (op == op_adamw ? check_adamw_element : check_lion_element)(what, got, old[i], p.grad.v[i], &p);
            check_weight(what, &p, i);
        }
    }
    free(old);
    parameter_free(&p);
}

static void check_forms(Device *dev)
{
    for (int f = 0; f < N_FORM; f++)
        for (int s = 0; s < N_SHAPE; s++) {
            const int64_t pad = s % 3 == 0 ? 0 : s % 3 == 1 ? 4 - SHAPES[s][1] % 4 : 3, shift = s % 4 == 3 ? 1 : 0;

            check_steps(dev, &FORMS[f], op_adamw, SHAPES[s][0], SHAPES[s][1], pad, shift);
            check_steps(dev, &FORMS[f], op_lion, SHAPES[s][0], SHAPES[s][1], pad, shift);
        }
}

static void test_optim_steps_as_the_reference(void **state)
{
    (void)state;
    at_all_levels(check_forms);
}

/* ---- many steps ------------------------------------------------------------------------------------------------------------ */

/* From the start to the end in both. A step rounds p, below 1, twice, and is itself, below 2 lr, off by what m and v are: v by 5 EPS a step
 * at most, of which the root halves; m by 4 EPS of the terms of ten steps. */
static void check_run(Device *dev)
{
    enum { N = 700, STEPS = 300 };
    Parameter p = parameter_new(dev, &FORMS[ALONE], 1, N, 0, 0);
    const double bound = STEPS * (2 + 0.02 * (2.5 * STEPS + 40)) * EPS;
    double start[N], want_p[N], want_m[N], want_v[N], moved = 0;

    for (int i = 0; i < N; i++) {
        start[i] = want_p[i] = p.master.v[i];
        want_m[i] = p.m.v[i];
        want_v[i] = p.v.v[i];
    }
    for (int64_t t = 1; t <= STEPS; t++) {
        p.args.lr = (float)(0.01 * (1 - (double)t / (2 * STEPS)));
        parameter_step(&p, op_adamw, t);
        for (int i = 0; i < N; i++)
            ref_adamw(&want_p[i], &want_m[i], &want_v[i], p.grad.v[i], &p.args);
    }
    parameter_get(&p);
    for (int i = 0; i < N; i++) {
        check_close("after many steps", p.master.v[i], want_p[i], bound, 0);
        moved += fabs(want_p[i] - start[i]) / N;
    }
    assert_true(moved > 50 * bound);
    parameter_free(&p);
}

static void test_adamw_follows_the_reference_for_many_steps(void **state)
{
    (void)state;
    at_all_levels(check_run);
}

/* v falls from about 1 to 1 % of that while its gradient is small. To nearest it would not move at all; at random its mean is that of the exact
 * numbers. A step adds a spread of at most half a unit, 2^-8 of v, and a thousand steps are remembered: 0.09 of v an element, 0.003 of the mean. */
static void check_falling_v(Device *dev)
{
    enum { N = 1000, STEPS = 3000 };
    Parameter p = parameter_new(dev, &FORMS[ALONE_BF16], 1, N, 0, 0);
    double want = 0, got = 0;
    double exact[N], unused_p = 0, unused_m = 0;

    for (int i = 0; i < N; i++)
        exact[i] = p.v.v[i] = 1 + 0x1p-7 * (i % 64);
    box_put(&p.v);
    for (int64_t t = 1; t <= STEPS; t++) {
        parameter_step(&p, op_adamw, t);
        for (int i = 0; i < N; i++)
            ref_adamw(&unused_p, &unused_m, &exact[i], p.grad.v[i], &p.args);
    }
    parameter_get(&p);
    for (int i = 0; i < N; i++) {
        got += p.v.v[i];
        want += exact[i];
    }
    assert_true(want < 0.1 * N);
    check_close("mean of v", got, want, 0, 5 * 0.003);
    parameter_free(&p);
}

static void test_adamw_lets_v_fall_in_bf16(void **state)
{
    (void)state;
    at_all_levels(check_falling_v);
}

/* ---- the same bits --------------------------------------------------------------------------------------------------------- */

static void check_same_parameter(const char *what, const Parameter *a, const Parameter *b)
{
    check_same(what, &a->master, &b->master);
    check_same(what, &a->low, &b->low);
    check_same(what, &a->weight, &b->weight);
    check_same(what, &a->m, &b->m);
    check_same(what, &a->v, &b->v);
}

static void check_against(Device *one, Device *other, int threads)
{
    char what[128];

    for (int f = 0; f < N_FORM; f++)
        for (int o = 0; o < 2; o++) {
            Parameter a = parameter_new(one, &FORMS[f], 5, 2051, 1, 0), b = parameter_new(other, &FORMS[f], 5, 2051, 1, 0);

            for (int64_t t = 1; t <= 4; t++) {
                parameter_step(&a, o == 0 ? op_adamw : op_lion, t);
                parameter_step(&b, o == 0 ? op_adamw : op_lion, t);
            }
            snprintf(what, sizeof what, "%s, %s, %d threads", FORMS[f].name, device_class(other), threads);
            check_same_parameter(what, &a, &b);
            parameter_free(&a);
            parameter_free(&b);
        }
}

static void test_optim_gives_the_same_bits_everywhere(void **state)
{
    Device *one = box_device("generic", 1);

    (void)state;
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *other = box_device(BOX_LEVELS[level], 3);

        if (other != NULL)
            check_against(one, other, 3);
        device_close(other);
    }
    device_close(one);
}

/* A split master is the F32 master bit for bit, and so is what the model reads but for exact halves. */
static void check_split(Device *dev)
{
    Parameter whole = parameter_new(dev, &FORMS[WEIGHT_BF16], 3, 1025, 0, 0), split = parameter_new(dev, &FORMS[SPLIT], 3, 1025, 0, 0);

    for (int64_t t = 1; t <= 40; t++) {
        parameter_step(&whole, op_adamw, t);
        parameter_step(&split, op_adamw, t);
    }
    parameter_get(&whole);
    parameter_get(&split);
    for (int64_t i = 0; i < 3 * 1025; i++) {
        assert_true(split.master.v[i] == whole.master.v[i]);
        assert_true(split.weight.v[i] == whole.weight.v[i] || (int)split.low.v[i] == 0x8000);
    }
    parameter_free(&whole);
    parameter_free(&split);
}

static void test_optim_split_masters_are_masters(void **state)
{
    (void)state;
    at_all_levels(check_split);
}

/* The whole, then once more row by row, and as one row where there is no padding. */
static void check_place(Device *dev)
{
    for (int f = 0; f < N_FORM; f++) {
        Parameter whole = parameter_new(dev, &FORMS[f], 5, 771, 0, 0), apart = parameter_new(dev, &FORMS[f], 5, 771, 0, 0);
        Parameter flat = parameter_new(dev, &FORMS[f], 5, 771, 0, 0);
        Tensor *const tensor[] = {&flat.args.master, &flat.args.low, &flat.args.weight, &flat.args.grad, &flat.args.m, &flat.args.v};

        for (int i = 0; i < 6; i++)
            if (tensor_is_set(*tensor[i]))
                *tensor[i] = tensor_of(tensor[i]->data, tensor[i]->dtype, 1, 5 * 771);
        parameter_step(&whole, op_adamw, 7);
        parameter_step(&flat, op_adamw, 7);
        box_put(&whole.grad);
        apart.args.step = 7;
        for (int64_t row = 0; row < 5; row++) {
            OptimArgs o = apart.args;
            Tensor *const part[] = {&o.master, &o.low, &o.weight, &o.grad, &o.m, &o.v};

            o.grad = whole.args.grad;
            for (int i = 0; i < 6; i++)
                if (tensor_is_set(*part[i]))
                    *part[i] = tensor_rows(*part[i], row, 1);
            CHECK_OK(op_adamw(dev, &o));
        }
        check_same_parameter("row by row", &whole, &apart);
        check_same_parameter("in one row", &whole, &flat);
        parameter_free(&whole);
        parameter_free(&apart);
        parameter_free(&flat);
    }
}

static void test_optim_does_not_depend_on_place(void **state)
{
    (void)state;
    at_all_levels(check_place);
}

/* ---- odd numbers ----------------------------------------------------------------------------------------------------------- */

static void check_odd(Device *dev)
{
    for (int f = 0; f < N_FORM; f++)
        for (int o = 0; o < 2; o++) {
            static const double odd[] = {(double)NAN, (double)INFINITY, 0, 0.5};
            Parameter p = parameter_new(dev, &FORMS[f], 1, 4, 0, 0);
            double before[4];

            parameter_get(&p);
            for (int i = 0; i < 4; i++) {
                before[i] = p.master.v[i];
                p.grad.v[i] = odd[i];
                p.m.v[i] = p.v.v[i] = 0;
            }
            box_put(&p.grad);
            box_put(&p.m);
            box_put(&p.v);
            p.args.step = 1;
            p.args.decay = 0;
            CHECK_OK((o == 0 ? op_adamw : op_lion)(dev, &p.args));
            parameter_get(&p);
            assert_true(isnan(p.m.v[0]) && isinf(p.m.v[1]) && p.m.v[2] == 0);
            if (o == 0) {
                assert_true(isnan(p.master.v[0]) && isnan(p.v.v[0]) && isinf(p.v.v[1]) && isnan(p.master.v[1]));
                assert_true(!FORMS[f].has_weight || (isnan(p.weight.v[0]) && isnan(p.weight.v[1])));
            } else {
                assert_true(p.master.v[0] == before[0]);
                check_close("lion, infinite", p.master.v[1], before[1] - (double)p.args.lr, EPS, 0);
            }
            assert_true(p.master.v[2] == before[2]); /* no gradient, no step */
            check_close("first step", p.master.v[3], before[3] - (double)p.args.lr, 1e-7, 0); /* of length lr, in both */
            parameter_free(&p);
        }
}

static void test_optim_of_odd_gradients(void **state)
{
    (void)state;
    at_all_levels(check_odd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_optim_steps_as_the_reference),
        cmocka_unit_test(test_adamw_follows_the_reference_for_many_steps),
        cmocka_unit_test(test_adamw_lets_v_fall_in_bf16),
        cmocka_unit_test(test_optim_gives_the_same_bits_everywhere),
        cmocka_unit_test(test_optim_split_masters_are_masters),
        cmocka_unit_test(test_optim_does_not_depend_on_place),
        cmocka_unit_test(test_optim_of_odd_gradients),
    };

    return TEST_MAIN(tests);
}
