#include "analysis/matrix_folder.h"

#include "model/convert.h"

static Status open_master(MatrixFolder *f)
{
    StrBuf path;
    Status st;

    strbuf_init(&path);
    TRY_GOTO(path_join(&path, f->variant.base.path, "master.safetensors"), st, done);
    if (file_exists(path.data))
        st = st_open(&f->master, path.data);
done:
    strbuf_release(&path);
    return st;
}

Status matrix_folder_open(MatrixFolder *f, const char *argument, const char *base)
{
    size_t unknown = 0;

    *f = (MatrixFolder){0};
    TRY(variant_open(&f->variant, argument, base, &unknown));
    const Status st = open_master(f);
    if (st != LT_OK)
        matrix_folder_close(f);
    return st;
}

void matrix_folder_close(MatrixFolder *f)
{
    if (f->master.path != NULL)
        st_close(&f->master);
    variant_close(&f->variant);
    *f = (MatrixFolder){0};
}

static const StTensor *find_master(const MatrixFolder *f, Str name)
{
    for (size_t i = 0; f->master.path != NULL && i < f->master.n_tensor; i++)
        if (str_equal(f->master.tensor[i].name, name))
            return &f->master.tensor[i];
    return NULL;
}

static Status take_master(MatrixPlace *place, const MatrixFolder *f, const StTensor *t)
{
    DType dtype;

    if (!st_dtype(t, &dtype) || dtype != LT_F32)
        return FAIL(LT_E_INPUT, "%s: tensor '" STR_FORMAT "': dtype F32 expected, %s found", f->master.path, STR_ARG(t->name), t->dtype);
    if (t->rank != 2 || t->shape[0] != place->rows || t->shape[1] != place->cols)
        return FAIL(LT_E_INPUT, "%s: tensor '" STR_FORMAT "': shape [%lld,%lld] expected, as in the model's own file; another one found", f->master.path,
                    STR_ARG(t->name), (long long)place->rows, (long long)place->cols);
    place->file = &f->master;
    place->tensor = t;
    place->dtype = LT_F32;
    return LT_OK;
}

Status matrix_folder_find(MatrixPlace *out, const MatrixFolder *f, Str name)
{
    const Checkpoint *ckpt = f->variant.checkpoint;
    MatrixPlace place = {0};

    place.tensor = st_set_find(&ckpt->set, name, &place.stored_file);
    if (place.tensor == NULL)
        return FAIL(LT_E_INPUT, "%s: tensor '" STR_FORMAT "' expected, none found", ckpt->path, STR_ARG(name));
    if (place.tensor->rank != 2)
        return FAIL(LT_E_INPUT, "%s: tensor '" STR_FORMAT "': a matrix expected, %d dimensions found", ckpt->path, STR_ARG(name), place.tensor->rank);
    BUG_IF(!st_dtype(place.tensor, &place.stored)); /* checkpoint_check has seen it */
    place.file = place.stored_file;
    place.dtype = place.stored;
    place.rows = place.tensor->shape[0];
    place.cols = place.tensor->shape[1];
    const StTensor *master = find_master(f, name);
    if (master != NULL)
        TRY(take_master(&place, f, master));
    *out = place;
    return LT_OK;
}

Status matrix_read(float *to, const MatrixPlace *place, int64_t from, int64_t count, void *raw)
{
    const size_t width = dtype_bytes(place->dtype);
    bool lossy = false;

    BUG_IF(count > MATRIX_RUN);
    TRY(st_read(place->file, place->tensor, (uint64_t)from * width, raw, (size_t)count * width));
    weights_convert(to, LT_F32, raw, place->dtype, count, &lossy);
    const int64_t bad = weights_first_bad(to, LT_F32, count);
    if (bad < 0)
        return LT_OK;
    return FAIL(LT_E_INPUT, "%s: tensor '" STR_FORMAT "': element [%lld,%lld]: expected a finite number, found %g", place->file->path,
                STR_ARG(place->tensor->name), (long long)((from + bad) / place->cols), (long long)((from + bad) % place->cols), (double)to[bad]);
}

static Status add_file(StrBuf *out, const StFile *file, FileHashMode mode)
{
    Digest digest;

    TRY(filehash_get(file->path, mode, &digest));
    const DigestHex hex = digest_hex(&digest);
    strbuf_addf(out, "file %s\n", hex.text);
    return LT_OK;
}

Status matrix_place_digest(StrBuf *out, const MatrixPlace *place, FileHashMode mode)
{
    TRY(add_file(out, place->stored_file, mode)); /* with masters too: the stored type decides a cast */
    return place->file != place->stored_file ? add_file(out, place->file, mode) : LT_OK;
}
