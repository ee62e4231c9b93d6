#include "analysis/run_file.h"

#include "core/clock.h"
#include "core/folderlock.h"
#include "core/regex.h"
#include "core/version.h"

#include <sys/resource.h>

enum { RUN_MAX_BYTES = 64 << 20 };

/* Under the folder's lock: whoever holds it may clear temporary files away. */
static Status replace_file(const SpectraFile *f, Str text)
{
    FolderLock lock;
    StrBuf path;

    TRY(folder_lock(&lock, f->folder));
    strbuf_init(&path);
    Status st = folder_sweep(&lock, f->folder);
    if (st == LT_OK)
        st = path_join(&path, f->folder, "run.json");
    if (st == LT_OK)
        st = file_write_atomic(path.data, text.data, text.len);
    strbuf_release(&path);
    folder_unlock(&lock);
    return st;
}

static Status write_file(const SpectraFile *f)
{
    StrBuf text;

    strbuf_init(&text);
    Status st = json_write(&text, f->root, (JsonStyle){.indent = 2});
    strbuf_add_char(&text, '\n');
    if (st == LT_OK)
        st = strbuf_status(&text);
    if (st == LT_OK)
        st = replace_file(f, strbuf_str(&text));
    strbuf_release(&text);
    return st;
}

static Status put_settings(json_t *root, const SpectraOptions *o)
{
    static const char *const cast[] = {"auto", "none", "bf16", "f16"}, *const method[] = {"auto", "gram", "svd"};
    json_t *tau = json_array();

    TRY(json_put(root, "settings",
                 json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:o, s:b}", "out", o->out, "of", o->delta.of == DELTA_OF_WEIGHTS ? "weights" : "delta",
                           "method", method[o->method], "vectors", (json_int_t)o->vectors, "base_cast", cast[o->delta.cast], "stored",
                           o->delta.exact ? "exact" : "rounded", "thresholds", tau, "fresh", o->fresh)));
    for (int i = 0; i < o->n_threshold; i++)
        TRY(json_push(tau, json_real(o->threshold[i])));
    return json_put(json_object_get(root, "settings"), "modules", o->modules != NULL ? json_string(o->modules) : json_null());
}

static Status put_checkpoints(json_t *root, const SpectraOptions *o)
{
    json_t *list = json_array();

    TRY(json_put(root, "checkpoints", list));
    for (size_t i = 0; i < o->n_tuned; i++)
        TRY(json_push(list, json_pack("{s:s, s:s}", "label", o->tuned[i].label, "path", o->tuned[i].path)));
    return LT_OK;
}

static Status put_digest(json_t *object, const char *key, const Digest *digest)
{
    const DigestHex hex = digest_hex(digest);
    return json_put(object, key, json_string(hex.text));
}

/* Unknown where a hash of the files is not remembered: then nothing was read of them either. */
static Status put_model_digest(json_t *object, const MatrixFolder *folder, FileHashMode mode)
{
    bool known = false;
    Digest digest;

    TRY(checkpoint_digest(folder->variant.checkpoint, mode, &digest, &known));
    return known ? put_digest(object, "sha256", &digest) : LT_OK;
}

static Status fill(SpectraFile *f, Device *dev, const SpectraOptions *o, const MatrixFolder *base)
{
    json_t *root = f->root;

    TRY(json_put(root, "verb", json_string("spectrum")));
    TRY(json_put(root, "command_line", o->command_line != NULL ? json_string(o->command_line) : json_null()));
    TRY(put_settings(root, o));
    TRY(json_put(root, "base", json_pack("{s:s}", "path", o->base)));
    TRY(put_model_digest(json_object_get(root, "base"), base, o->hash));
    TRY(put_checkpoints(root, o));
    TRY(json_put(root, "versions", json_pack("{s:s, s:i, s:s, s:s, s:s}", "lethe", LETHE_VERSION, "numerics", SPECTRUM_NUMERICS, "compiler", __VERSION__,
                                             "pcre2", regex_version(), "jansson", jansson_version_str())));
    TRY(json_put(root, "device", json_string(device_description(dev))));
    TRY(json_put(root, "device_class", json_string(device_class(dev))));
    TRY(json_put(root, "seed", json_null())); /* nothing is drawn */
    TRY(json_put(root, "started", json_real(clock_epoch_s())));
    TRY(json_put(root, "status", json_string("running")));
    return write_file(f);
}

Status spectra_file_begin(SpectraFile *f, Device *dev, const SpectraOptions *options, const MatrixFolder *base)
{
    if (f->root != NULL)
        return LT_OK;
    *f = (SpectraFile){.root = json_object(), .folder = options->out, .start_s = clock_s()};
    return f->root != NULL ? fill(f, dev, options, base) : FAIL(LT_E_NOMEM, "out of memory");
}

Status spectra_file_tuned(SpectraFile *f, size_t i, const DeltaPair *pair, FileHashMode mode)
{
    Digest digest;

    if (f->root == NULL)
        return LT_OK;
    json_t *entry = json_array_get(json_object_get(f->root, "checkpoints"), i);
    if (pair->factors == NULL)
        return put_model_digest(entry, &pair->tuned, mode);
    TRY(adapter_folder_digest(pair->tuned.variant.folder, mode, &digest));
    return put_digest(entry, "adapter_sha256", &digest);
}

Status spectra_file_unfinished(const char *out, bool *unfinished)
{
    json_t *root = NULL;
    StrBuf path;

    *unfinished = false;
    strbuf_init(&path);
    Status st = path_join(&path, out, "run.json");
    if (st == LT_OK && file_exists(path.data)) {
        st = json_load_path(&root, path.data, RUN_MAX_BYTES);
        const char *status = json_string_value(json_object_get(root, "status"));
        *unfinished = status == NULL || strcmp(status, "done") != 0;
        json_decref(root);
        if (st == LT_E_INPUT) { /* then it is to be written again */
            status_clear();
            st = LT_OK;
        }
    }
    strbuf_release(&path);
    return st;
}

static Status end(SpectraFile *f, Status outcome)
{
    struct rusage usage;
    const char *status = outcome == LT_OK ? "done" : outcome == LT_E_INTERRUPTED ? "interrupted" : "failed";

    TRY(json_put(f->root, "status", json_string(status)));
    TRY(json_put(f->root, "seconds", json_real(clock_s() - f->start_s)));
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        TRY(json_put(f->root, "peak_memory_bytes", json_integer((json_int_t)usage.ru_maxrss * 1024)));
    return write_file(f);
}

Status spectra_file_end(SpectraFile *f, Status outcome)
{
    const Status st = f->root != NULL ? end(f, outcome) : LT_OK;

    json_decref(f->root);
    *f = (SpectraFile){0};
    return st;
}
