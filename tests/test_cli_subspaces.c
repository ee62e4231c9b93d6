/* `lethe spectrum --vectors`: that subspaces.tsv holds what analysis/subspace_report says of the same matrices. */
#include "tests/program.h"

#include "analysis/delta.h"
#include "analysis/matrix_values.h"
#include "analysis/subspace_report.h"
#include "core/file.h"
#include "core/tsv.h"
#include "tests/made_factors.h"
#include "tests/made_tunes.h"

#include <stdio.h>
#include <stdlib.h>

static Device *dev;

static int begin(void **state)
{
    (void)state;
    CHECK_OK(device_open(&dev, "cpu", 1));
    return setenv("LETHE_CACHE", test_folder(), 1);
}

static int end(void **state)
{
    (void)state;
    device_close(dev);
    return 0;
}

static const char *path_in(const char *folder, const char *name)
{
    static char path[8192];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void run_well(ProgramRun *run, const char *const *argument)
{
    program_run(run, "", argument);
    if (run->code != 0)
        fail_msg("exit code %d: %s", run->code, run->err.data);
}

#define DOWN "model.layers.1.mlp.down_proj.weight"

/* What the matrix' rows should be, of the deltas as any other caller takes them. */
static void report_down(SubspaceRows *rows, const MadeTunes *made, const char *tuned, int64_t k)
{
    const DeltaSettings settings = {DELTA_OF_DELTA, DELTA_CAST_AUTO, false};
    MatrixFolder folder;
    DeltaFacts facts;
    DeltaPair pair;
    ParamList list;

    CHECK_OK(matrix_folder_open(&folder, made->base, NULL));
    CHECK_OK(delta_open(&pair, &folder, tuned, &settings));
    CHECK_OK(params_build(&list, &folder.variant.checkpoint->cfg));
    const ParamEntry *e = params_find(&list, PARAM_DOWN, 1), *a = delta_factors(&pair, e);
    const int64_t n = e->rows * e->cols;
    double *w = mem_take((size_t)(2 * n), sizeof *w), *change = w + n;
    assert_non_null(w);
    if (a != NULL)
        matrix_product(change, a);
    else
        CHECK_OK(delta_read(&pair, e, change, &facts));
    CHECK_OK(delta_read_base(&pair, e, DELTA_CAST_NONE, w));
    CHECK_OK(subspace_report(rows, dev, w, change, e->rows, e->cols, k));
    mem_free(w);
    params_release(&list);
    delta_close(&pair);
    matrix_folder_close(&folder);
}

static void check_subspaces(const Tsv *t, const char *label, const SubspaceRows *want)
{
    size_t n = 0;

    for (size_t i = 0; i < t->n_row; i++) {
        if (strcmp(tsv_get(t, i, "label"), label) != 0 || strcmp(tsv_get(t, i, "name"), DOWN) != 0)
            continue;
        assert_true(n < want->count);
        assert_string_equal(tsv_get(t, i, "quantity"), want->row[n].quantity);
        assert_string_equal(tsv_get(t, i, "side"), want->row[n].side);
        check_close(want->row[n].quantity, strtod(tsv_get(t, i, "value"), NULL), want->row[n].value, 1e-9, 1e-9);
        n++;
    }
    assert_true(n > 0);
    assert_int_equal(n, want->count);
}

static void test_spectrum_compares_spaces(void **state)
{
    const char *out = test_folder();
    SubspaceRows full_rows = {0}, lora_rows = {0};
    char adapter[1024];
    ProgramRun run;
    FileId a, b;
    MadeTunes made;
    Tsv t;

    (void)state;
    made_tunes(&made, dev);
    Factors *factors = made_factors(&made.model->cfg, MADE_PLAIN, 4);
    const AdapterOrigin origin = made_origin(MADE_PLAIN, made.base);
    snprintf(adapter, sizeof adapter, "%s/adapter", made.base);
    CHECK_OK(adapter_write(adapter, &factors->params, &made.model->cfg, NULL, &origin));
    factors_free(factors);

    run_well(&run, ARGUMENTS("spectrum", made.base, made.a, adapter, "--out", out)); /* without: no reason to think that they are there */
    program_release(&run);
    assert_false(file_exists(path_in(out, "subspaces.tsv")));
    run_well(&run, ARGUMENTS("spectrum", made.base, made.a, adapter, "--out", out, "--vectors", "5"));
    program_release(&run);
    CHECK_OK(file_id(path_in(out, "subspaces.tsv"), &a));
    run_well(&run, ARGUMENTS("spectrum", made.base, made.a, adapter, "--out", out, "--vectors", "5"));
    program_release(&run);
    CHECK_OK(file_id(path_in(out, "subspaces.tsv"), &b));
    assert_true(a.inode == b.inode);
    report_down(&full_rows, &made, made.a, 5);
    report_down(&lora_rows, &made, adapter, 5);
    CHECK_OK(tsv_read(&t, path_in(out, "subspaces.tsv")));
    check_subspaces(&t, "a", &full_rows);
    check_subspaces(&t, "adapter", &lora_rows);
    tsv_release(&t);
    subspace_rows_release(&lora_rows);
    subspace_rows_release(&full_rows);
    program_run(&run, "", ARGUMENTS("spectrum", made.base, made.a, "--out", out, "--vectors", "5", "--of", "weights"));
    assert_int_equal(run.code, 2);
    program_release(&run);
    model_free(made.model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_spectrum_compares_spaces, begin, end),
    };
    return TEST_MAIN(tests);
}
