/* The golden spectra: every stored matrix, as F64 and as F32, against values made elsewhere, within the tolerances that come with them. */
#include "tests/check.h"
#include "tests/tensor_box.h"

#include "core/json.h"
#include "core/mem.h"
#include "model/safetensors.h"

#include <math.h>
#include <string.h>

typedef struct Golden {
    const char *name;
    Box f64, f32;
    double *want, *got; /* [q] */
    int64_t q;
} Golden;

static void load_matrix(Golden *g, Device *dev, const StFile *file, JsonAt matrix)
{
    const StTensor *t = NULL;
    float *value;

    for (size_t i = 0; i < file->n_tensor; i++)
        if (str_is(file->tensor[i].name, g->name))
            t = &file->tensor[i];
    assert_non_null(t);
    g->f64 = box_new(dev, LT_F64, t->shape[0], t->shape[1], 1);
    g->f32 = box_new(dev, LT_F32, t->shape[0], t->shape[1], 2);
    g->q = t->shape[0] < t->shape[1] ? t->shape[0] : t->shape[1];
    value = mem_take((size_t)t->count, sizeof *value);
    g->want = mem_take((size_t)g->q, sizeof *g->want);
    g->got = mem_take((size_t)g->q, sizeof *g->got);
    assert_true(value != NULL && g->want != NULL && g->got != NULL);
    CHECK_OK(st_read(file, t, 0, value, (size_t)t->count * sizeof *value));
    for (int64_t i = 0; i < t->count; i++)
        g->f64.v[i] = g->f32.v[i] = (double)value[i];
    box_put(&g->f64);
    box_put(&g->f32);
    mem_free(value);
    for (int64_t i = 0; i < g->q; i++) {
        const JsonAt values = json_member(&matrix, "singular_values");

        CHECK_OK(json_to_double(json_element(&values, (size_t)i), &g->want[i]));
    }
}

/* Values (power 1) or their squares (2), within `share` of the largest. */
static void check_values(const Golden *g, const char *op, double power, double share)
{
    const double top = pow(g->want[0], power);

    for (int64_t i = 0; i < g->q; i++) {
        const double want = pow(g->want[i], power);

        if (!(fabs(g->got[i] - want) <= share * top))
            fail_msg("%s of '%s': value %lld is %.17g, expected %.17g within %.3g", op, g->name, (long long)i, g->got[i], want, share * top);
    }
}

static void check_matrix(Golden *g, Device *dev)
{
    CHECK_OK(op_gram_values(dev, g->got, g->f64.t));
    check_values(g, "gram_values, f64", 2, 1e-11);
    CHECK_OK(op_gram_values(dev, g->got, g->f32.t)); /* the same numbers, widened */
    check_values(g, "gram_values, f32", 2, 1e-11);
    CHECK_OK(op_svd_values(dev, g->got, g->f64.t));
    check_values(g, "svd_values, f64", 1, 1e-12);
    CHECK_OK(op_svd_values(dev, g->got, g->f32.t));
    /* An F32 as small as 7e-42 is a multiple of 1.4e-45: the values cannot be nearer than that. */
    check_values(g, "svd_values, f32", 1, strcmp(g->name, "denormal") == 0 ? 0x1p-149 / g->want[0] : 2e-5);
    box_put(&g->f64);
    Box u = box_new(dev, LT_F64, g->f64.t.rows, g->q, 0), vt = box_new(dev, LT_F64, g->q, g->f64.t.cols, 0);
    CHECK_OK(op_svd(dev, u.t, g->got, vt.t, g->f64.t));
    check_values(g, "svd, f64", 1, 1e-12);
    box_free(&u);
    box_free(&vt);
}

static void test_linalg_golden_spectra(void **state)
{
    const char *folder = test_data("golden/spectra/matrices.safetensors"), *expected = test_data("golden/spectra/expected.json");
    StFile file = {0};
    json_t *root, *value;
    const char *name;
    int seen = 0;

    (void)state;
    CHECK_OK(st_open(&file, folder));
    CHECK_OK(json_load_path(&root, expected, 1 << 24));
    for (int which = 0; which < 2; which++) {
        Device *dev;

        if (which == 0)
            CHECK_OK(device_open(&dev, "cpu", 2));
        else if ((dev = box_device("cuda", 2)) == NULL)
            continue;
        json_object_foreach(json_object_get(root, "matrices"), name, value)
        {
            Golden g = {.name = name};

            load_matrix(&g, dev, &file, json_root(value, "expected.json", 0));
            check_matrix(&g, dev);
            box_free(&g.f64);
            box_free(&g.f32);
            mem_free(g.want);
            mem_free(g.got);
            seen++;
        }
        device_close(dev);
    }
    assert_true(seen >= 24);
    json_decref(root);
    st_close(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linalg_golden_spectra),
    };

    return TEST_MAIN(tests);
}
