#include "model/adapter_write.h"

#include "core/file.h"
#include "core/json.h"
#include "kernels/device.h"
#include "model/convert.h"
#include "model/safetensors.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static const char CONFIG[] = "adapter_config.json", TENSORS[] = "adapter_model.safetensors";

/* ---- tensors -------------------------------------------------------------------------------------------------------------- */

/* What st_write needs of every entry: names in one arena, values in contiguous rows of the host's memory. */
typedef struct Writer {
    StWrite *tensor;
    Arena names;
    float *host;
} Writer;

/* A device's copy of a B may have rows padded to a wider rank. */
static Status copy_values(float *to, const ParamEntry *e, Device *dev)
{
    if (dev != NULL) {
        TRY(device_download(dev, to, e->value));
    } else {
        for (int64_t row = 0; row < e->rows; row++)
            memcpy(to + row * e->cols, (const float *)e->value.data + row * e->value.stride, (size_t)e->cols * sizeof *to);
    }
    return LT_OK;
}

static Status describe(Writer *w, StWrite *t, const ParamEntry *e, const float *values, StrBuf *name)
{
    const int64_t bad = weights_first_bad(values, LT_F32, e->rows * e->cols);

    TRY(param_name(e, name));
    if (bad >= 0)
        return FAIL(LT_E_NUMERIC, "tensor '%s': element [%lld,%lld]: expected a finite number to write, found %g", name->data,
                    (long long)(bad / e->cols), (long long)(bad % e->cols), (double)values[bad]);
    *t = (StWrite){.name = arena_strndup(&w->names, name->data, name->len), .dtype = st_dtype_name(LT_F32), .rank = 2,
                   .shape = {e->rows, e->cols}, .data = values};
    return t->name == NULL ? LT_E_NOMEM : LT_OK;
}

static Status write_tensors(const char *path, const ParamList *factors, Device *dev)
{
    static const char *const metadata[][2] = {{"format", "pt"}};
    Writer w = {0};
    StrBuf name;
    size_t total = 0, at = 0;
    Status st;

    arena_init(&w.names);
    strbuf_init(&name);
    for (size_t i = 0; i < factors->count; i++)
        total += (size_t)(factors->entry[i].rows * factors->entry[i].cols);
    TRY_GOTO(MEM_NEW(w.tensor, factors->count), st, done);
    TRY_GOTO(MEM_NEW(w.host, total), st, done);
    for (size_t i = 0; i < factors->count; i++) {
        const ParamEntry *e = &factors->entry[i];

        TRY_GOTO(copy_values(w.host + at, e, dev), st, done);
        TRY_GOTO(describe(&w, &w.tensor[i], e, w.host + at, &name), st, done);
        at += (size_t)(e->rows * e->cols);
    }
    st = st_write(path, w.tensor, factors->count, metadata, 1);
done:
    strbuf_release(&name);
    mem_free(w.host);
    mem_free(w.tensor);
    arena_release(&w.names);
    return st;
}

/* ---- configuration -------------------------------------------------------------------------------------------------------- */

static double divisor(int64_t rank, bool rslora) { return rslora ? sqrt((double)rank) : (double)rank; }

/* The alpha whose quotient is the scale to the bit: the product may have been rounded to a neighbour of it, and a whole number is what was meant. */
static double alpha_of(const ParamEntry *a, bool rslora)
{
    const double by = divisor(a->rows, rslora), product = a->scale * by;
    const double candidate[] = {round(product), product, nextafter(product, -INFINITY), nextafter(product, INFINITY)};

    for (size_t i = 0; i < sizeof candidate / sizeof *candidate; i++) {
        const double quotient = candidate[i] / by;

        if (memcmp(&quotient, &a->scale, sizeof quotient) == 0)
            return candidate[i];
    }
    return product;
}

/* Whole numbers as such: older releases of PEFT declare lora_alpha an integer. */
static json_t *number(double x)
{
    return fabs(x) < 1e15 && !(x < rint(x) || x > rint(x)) ? json_integer((json_int_t)x) : json_real(x);
}

/* Adds what differs from the first matrix. */
static Status put_patterns(json_t *ranks, json_t *alphas, const ParamList *factors, bool rslora)
{
    const ParamEntry *first = &factors->entry[0];
    const double usual = alpha_of(first, rslora);
    StrBuf module;
    Status st = LT_OK;

    strbuf_init(&module);
    for (size_t i = 0; st == LT_OK && i < factors->count; i += 2) {
        const ParamEntry *a = &factors->entry[i];
        const double alpha = alpha_of(a, rslora);

        TRY_GOTO(param_module(a, &module), st, done);
        if (a->rows != first->rows)
            TRY_GOTO(json_put(ranks, module.data, json_integer(a->rows)), st, done);
        if (alpha < usual || alpha > usual)
            TRY_GOTO(json_put(alphas, module.data, number(alpha)), st, done);
    }
done:
    strbuf_release(&module);
    return st;
}

static int64_t count_layers(const ParamList *factors, ParamId id)
{
    int64_t n = 0;

    for (size_t i = 0; i < factors->count; i += 2)
        n += factors->entry[i].row->id == id;
    return n;
}

/* A name stands for all layers; a matrix that some layers leave out is named by its whole path in the others. */
static Status put_targets(json_t *list, const ParamList *factors, const ModelConfig *base)
{
    StrBuf module;
    Status st = LT_OK;

    for (int p = 0; p < PARAM_KINDS; p++)
        if (count_layers(factors, (ParamId)p) == base->num_hidden_layers)
            TRY(json_push(list, json_string(param_rows[p].module)));
    strbuf_init(&module);
    for (size_t i = 0; st == LT_OK && i < factors->count; i += 2) {
        if (count_layers(factors, factors->entry[i].row->id) == base->num_hidden_layers)
            continue;
        st = param_module(&factors->entry[i], &module);
        if (st == LT_OK)
            st = json_push(list, json_string(module.data));
    }
    strbuf_release(&module);
    return st;
}

/* In alphabetical order, as PEFT saves them. */
static Status fill_config(json_t *o, const ParamList *factors, const ModelConfig *base, const AdapterOrigin *origin)
{
    json_t *alphas, *ranks, *targets; /* the object's, from json_put on */

    TRY(json_put(o, "alpha_pattern", alphas = json_object()));
    TRY(json_put(o, "auto_mapping", json_null()));
    TRY(json_put(o, "base_model_name_or_path", origin->base == NULL ? json_null() : json_string(origin->base)));
    TRY(json_put(o, "bias", json_string("none")));
    TRY(json_put(o, "fan_in_fan_out", json_false()));
    TRY(json_put(o, "inference_mode", json_true()));
    TRY(json_put(o, "init_lora_weights", json_true()));
    TRY(json_put(o, "layers_pattern", json_null()));
    TRY(json_put(o, "layers_to_transform", json_null()));
    TRY(json_put(o, "lora_alpha", number(alpha_of(&factors->entry[0], origin->rslora))));
    TRY(json_put(o, "lora_dropout", json_real(origin->dropout)));
    TRY(json_put(o, "modules_to_save", json_null()));
    TRY(json_put(o, "peft_type", json_string("LORA")));
    TRY(json_put(o, "r", json_integer(factors->entry[0].rows)));
    TRY(json_put(o, "rank_pattern", ranks = json_object()));
    TRY(json_put(o, "revision", json_null()));
    TRY(json_put(o, "target_modules", targets = json_array()));
    TRY(json_put(o, "task_type", json_string("CAUSAL_LM")));
    TRY(json_put(o, "use_rslora", json_boolean(origin->rslora)));
    TRY(put_patterns(ranks, alphas, factors, origin->rslora));
    return put_targets(targets, factors, base);
}

static Status write_config(const char *path, const ParamList *factors, const ModelConfig *base, const AdapterOrigin *origin)
{
    json_t *object = json_object();
    StrBuf text;
    Status st;

    if (object == NULL)
        return FAIL(LT_E_NOMEM, "out of memory while writing %s", CONFIG);
    strbuf_init(&text);
    TRY_GOTO(fill_config(object, factors, base, origin), st, done);
    TRY_GOTO(json_write(&text, object, (JsonStyle){.indent = 2}), st, done);
    strbuf_add_char(&text, '\n');
    TRY_GOTO(strbuf_status(&text), st, done);
    st = file_write_atomic(path, text.data, text.len);
done:
    strbuf_release(&text);
    json_decref(object);
    return st;
}

/* ---- the folder ----------------------------------------------------------------------------------------------------------- */

Status adapter_write_files(const char *folder, const ParamList *factors, const ModelConfig *base, Device *dev, const AdapterOrigin *origin)
{
    StrBuf path;
    Status st;

    BUG_IF(factors->count == 0);
    strbuf_init(&path);
    TRY_GOTO(path_join(&path, folder, TENSORS), st, done);
    TRY_GOTO(write_tensors(path.data, factors, dev), st, done);
    TRY_GOTO(path_join(&path, folder, CONFIG), st, done);
    st = write_config(path.data, factors, base, origin);
done:
    strbuf_release(&path);
    return st;
}

/* The folder that holds this one, "." if the path has no slash but at its end. */
static Status parent_of(StrBuf *out, const char *folder)
{
    const size_t n = (size_t)(path_tail(folder).data - folder);

    strbuf_add(out, folder, n);
    if (n == 0)
        strbuf_add_char(out, '.');
    return strbuf_status(out);
}

/* Makes a new folder beside the one to be, of a name that file_is_temporary knows. */
static Status make_temporary(StrBuf *out, const char *parent, const char *folder)
{
    const Str tail = path_tail(folder);
    uint64_t random = 0;
    StrBuf name;

    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return FAIL(LT_E_IO, "the system gives no random bytes: %s", strerror(errno));
    strbuf_init(&name);
    strbuf_addf(&name, "." STR_FORMAT ".%ld.%016" PRIx64 ".tmp", STR_ARG(tail), (long)getpid(), random);
    Status st = strbuf_status(&name);
    if (st == LT_OK)
        st = path_join(out, parent, name.data);
    strbuf_release(&name);
    if (st == LT_OK && mkdir(out->data, 0777) != 0)
        st = FAIL(LT_E_IO, "cannot make a folder beside '%s': %s", folder, strerror(errno));
    return st;
}

static void remove_folder(const char *folder)
{
    const char *const files[] = {CONFIG, TENSORS};
    StrBuf path;

    strbuf_init(&path);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (path_join(&path, folder, files[i]) == LT_OK)
            unlink(path.data);
    strbuf_release(&path);
    rmdir(folder);
}

Status adapter_write(const char *folder, const ParamList *factors, const ModelConfig *base, Device *dev, const AdapterOrigin *origin)
{
    StrBuf parent, temporary;
    bool made = false;
    Status st;

    strbuf_init(&parent);
    strbuf_init(&temporary);
    TRY_GOTO(parent_of(&parent, folder), st, done);
    TRY_GOTO(dir_make(parent.data), st, done);
    TRY_GOTO(make_temporary(&temporary, parent.data, folder), st, done);
    made = true;
    TRY_GOTO(adapter_write_files(temporary.data, factors, base, dev, origin), st, done);
    if (rename(temporary.data, folder) != 0) { /* takes the place of an empty folder, of nothing else */
        st = FAIL(LT_E_IO, "cannot put the adapter at '%s', which must be new or empty: %s", folder, strerror(errno));
        goto done;
    }
    made = false;
    st = dir_sync(parent.data);
done:
    if (made)
        remove_folder(temporary.data);
    strbuf_release(&temporary);
    strbuf_release(&parent);
    return st;
}
