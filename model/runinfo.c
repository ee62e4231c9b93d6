#include "model/runinfo.h"

#include "model/locate_text.h"
#include "model/runinfo_fields.h"

#include <math.h>
#include <stddef.h>

enum { LETHE_JSON_MAX = 1 << 20 };

const RunField run_fields[RUN_FIELDS] = {
    {"label", RUN_TEXT, offsetof(RunInfo, label)},
    {"condition", RUN_TEXT, offsetof(RunInfo, condition)},
    {"run", RUN_TEXT, offsetof(RunInfo, run)},
    {"method", RUN_METHOD, offsetof(RunInfo, method)},
    {"rank", RUN_COUNT, offsetof(RunInfo, rank)},
    {"alpha", RUN_REAL, offsetof(RunInfo, alpha)},
    {"targets", RUN_TARGETS, offsetof(RunInfo, targets)},
    {"lr", RUN_REAL, offsetof(RunInfo, lr)},
    {"seed", RUN_COUNT, offsetof(RunInfo, seed)},
    {"step", RUN_COUNT, offsetof(RunInfo, step)},
    {"tokens", RUN_COUNT, offsetof(RunInfo, tokens)},
    {"epochs", RUN_REAL, offsetof(RunInfo, epochs)},
    {"base", RUN_TEXT, offsetof(RunInfo, base)},
    {"template", RUN_TEXT, offsetof(RunInfo, template_name)},
};

RunInfo runinfo_unknown(void)
{
    return (RunInfo){
        .label = "", .condition = "", .run = "", .method = "", .targets = "", .base = "", .template_name = "",
        .rank = -1, .seed = -1, .step = -1, .tokens = -1,
        .alpha = (double)NAN, .lr = (double)NAN, .epochs = (double)NAN,
    };
}

bool run_is_method(const char *text)
{
    return strcmp(text, "base") == 0 || strcmp(text, "full") == 0 || strcmp(text, "lora") == 0;
}

/* ---- lethe.json --------------------------------------------------------------------------------------------------------------- */

static Status field_from_json(RunInfo *info, Arena *arena, const RunField *f, JsonAt at)
{
    switch (f->kind) {
    case RUN_TEXT: return locate_text(arena, at, run_text(info, f));
    case RUN_METHOD:
        TRY(locate_text(arena, at, run_text(info, f)));
        return run_is_method(*run_text(info, f)) ? LT_OK : json_expected(at, "\"base\", \"full\" or \"lora\"");
    case RUN_TARGETS: return run_targets_from_json(arena, at, run_text(info, f));
    case RUN_COUNT: return json_to_int(at, 0, INT64_MAX, run_count(info, f));
    case RUN_REAL: return json_to_double(at, run_real(info, f));
    }
    BUG_IF(true);
}

static Status read_own(RunInfo *info, Arena *arena, const char *file)
{
    json_t *document;
    Status st;

    TRY(json_load_path(&document, file, LETHE_JSON_MAX));
    const JsonAt root = json_root(document, file, 0);
    TRY_GOTO(json_to_object(root), st, done);
    for (int i = 0; i < RUN_FIELDS; i++) {
        const JsonAt at = json_member(&root, run_fields[i].name);
        if (json_here(at))
            TRY_GOTO(field_from_json(info, arena, &run_fields[i], at), st, done);
    }
done:
    json_decref(document);
    return st;
}

Status runinfo_read(RunInfo *out, Arena *arena, const char *folder)
{
    RunInfo info = runinfo_unknown();
    const char *file;
    bool here;

    TRY(locate_has_file(folder, "lethe.json", &here));
    if (here) {
        TRY(locate_join(arena, folder, "lethe.json", &file));
        TRY(read_own(&info, arena, file));
    } else {
        TRY(run_read_foreign(&info, arena, folder));
    }
    *out = info;
    return LT_OK;
}

static Status field_to_json(json_t *object, const RunField *f, RunInfo *info)
{
    switch (f->kind) {
    case RUN_TEXT:
    case RUN_METHOD:
    case RUN_TARGETS: return (*run_text(info, f))[0] == '\0' ? LT_OK : json_put(object, f->name, json_from_str(str_of(*run_text(info, f))));
    case RUN_COUNT: return *run_count(info, f) < 0 ? LT_OK : json_put(object, f->name, json_integer(*run_count(info, f)));
    case RUN_REAL: return isnan(*run_real(info, f)) ? LT_OK : json_put(object, f->name, json_real(*run_real(info, f)));
    }
    BUG_IF(true);
}

Status runinfo_write(StrBuf *out, const RunInfo *info)
{
    json_t *object = json_object();
    RunInfo copy = *info;
    Status st = object != NULL ? LT_OK : FAIL(LT_E_NOMEM, "out of memory");

    for (int i = 0; st == LT_OK && i < RUN_FIELDS; i++)
        st = field_to_json(object, &run_fields[i], &copy);
    if (st == LT_OK)
        st = json_write(out, object, (JsonStyle){.indent = 2});
    strbuf_add_char(out, '\n');
    json_decref(object);
    return st == LT_OK ? strbuf_status(out) : st;
}

/* ---- tables ------------------------------------------------------------------------------------------------------------------- */

static Status set_field(Tsv *t, size_t row, const RunField *f, RunInfo *info)
{
    switch (f->kind) {
    case RUN_TEXT:
    case RUN_METHOD:
    case RUN_TARGETS: return tsv_set(t, row, f->name, str_of(*run_text(info, f)));
    case RUN_COUNT: return *run_count(info, f) < 0 ? tsv_set(t, row, f->name, str_of("")) : tsv_set_int(t, row, f->name, *run_count(info, f));
    case RUN_REAL: {
        /* A whole number reads better without ".0": alpha 32, epochs 4. */
        const double x = *run_real(info, f);
        return x == floor(x) && fabs(x) < 1e15 ? tsv_set_int(t, row, f->name, (int64_t)x) : tsv_set_double(t, row, f->name, x);
    }
    }
    BUG_IF(true);
}

Status runinfo_set_row(Tsv *t, size_t row, const RunInfo *info)
{
    RunInfo copy = *info;

    for (int i = 0; i < RUN_FIELDS; i++)
        if (tsv_get(t, row, run_fields[i].name) != NULL)
            TRY(set_field(t, row, &run_fields[i], &copy));
    return LT_OK;
}
