#include "tests/matrix_file.h"

#include "core/mem.h"

double *matrix_numbers(int64_t n)
{
    double *x = mem_take((size_t)n, sizeof *x);

    assert_non_null(x);
    return x;
}

double *matrix_of_file(const StFile *file, const char *name, int64_t *rows, int64_t *cols)
{
    const StTensor *t = NULL;
    DType dtype;

    for (size_t i = 0; i < file->n_tensor; i++)
        if (str_is(file->tensor[i].name, name))
            t = &file->tensor[i];
    if (t == NULL)
        fail_msg("no tensor '%s' in %s", name, file->path);
    assert_true(st_dtype(t, &dtype) && dtype == LT_F32);
    assert_int_equal(t->rank, 2);
    *rows = t->shape[0];
    *cols = t->shape[1];
    double *wide = matrix_numbers(t->count);
    float *narrow = mem_take((size_t)t->count, sizeof *narrow);
    assert_non_null(narrow);
    CHECK_OK(st_read(file, t, 0, narrow, (size_t)t->count * sizeof *narrow));
    for (int64_t i = 0; i < t->count; i++)
        wide[i] = (double)narrow[i];
    mem_free(narrow);
    return wide;
}
