#include "model/locate_folder.h"

#include "core/file.h"
#include "model/locate_text.h"
#include "model/safetensors.h"

#include <stdlib.h>

/* ---- a folder of checkpoints, given by mistake ------------------------------------------------------------------------------ */

static int by_number(const void *a, const void *b) { return strverscmp(*(char *const *)a, *(char *const *)b); }

/* "checkpoint-100" (transformers) or "step-100" (Lethe). */
static bool is_step_name(Str name)
{
    const size_t dash = str_find(name, str_of("-"), 0);

    if (!str_starts(name, str_of("checkpoint-")) && !str_starts(name, str_of("step-")))
        return false;
    for (size_t i = dash + 1; i < name.len; i++)
        if (name.data[i] < '0' || name.data[i] > '9')
            return false;
    return dash + 1 < name.len;
}

static Status is_checkpoint(const char *folder, const char *name, bool *out)
{
    StrBuf path;
    Status st;

    strbuf_init(&path);
    TRY_GOTO(path_join(&path, folder, name), st, done);
    *out = dir_exists(path.data) && is_step_name(str_of(name));
    if (!*out)
        TRY_GOTO(locate_has_file(path.data, "config.json", out), st, done);
    if (!*out)
        st = locate_has_file(path.data, "adapter_config.json", out);
done:
    strbuf_release(&path);
    return st;
}

/* Adds "below" + name of every checkpoint in the folder, in the order of their numbers. */
static Status list_checkpoints(NameList *list, const char *folder, const char *below)
{
    FileList names = {0};
    Status st = LT_OK;

    if (!dir_exists(folder))
        return LT_OK;
    TRY(dir_list(folder, &names));
    if (names.count > 0)
        qsort(names.name, names.count, sizeof *names.name, by_number);
    for (size_t i = 0; i < names.count; i++) {
        bool is_one;

        TRY_GOTO(is_checkpoint(folder, names.name[i], &is_one), st, done);
        if (is_one && name_list_add(list))
            strbuf_addf(&list->text, "%s%s", below, names.name[i]);
    }
done:
    file_list_release(&names);
    return st;
}

/* Where checkpoints lie below a folder: a run of transformers, a run of Lethe, a model of the Hugging Face cache. */
static const char *const places[] = {"", "checkpoints/", "snapshots/"};

static Status refuse_run(const char *folder)
{
    NameList list = {0};
    StrBuf path;
    Status st = LT_OK;

    strbuf_init(&path);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        TRY_GOTO(path_join(&path, folder, places[i]), st, done);
        TRY_GOTO(list_checkpoints(&list, path.data, places[i]), st, done);
    }
    TRY_GOTO(name_list_end(&list), st, done);
    if (list.count > 0)
        st = FAIL(LT_E_INPUT, "%s: expected a model or adapter folder, found a folder of checkpoints; give one of them: %s", folder, list.text.data);
done:
    strbuf_release(&path);
    strbuf_release(&list.text);
    return st;
}

Status folder_named_adapter(Arena *arena, const char *folder, const char **out)
{
    const char *inner, *named = NULL;
    FileList names = {0};
    bool own, adapter, is_one;
    size_t n = 0;
    Status st;

    *out = NULL;
    TRY(is_checkpoint(folder, ".", &own));
    if (own)
        return LT_OK;
    TRY(dir_list(folder, &names));
    for (size_t i = 0; i < names.count; i++) {
        TRY_GOTO(is_checkpoint(folder, names.name[i], &is_one), st, done);
        if (!is_one)
            continue;
        TRY_GOTO(locate_join(arena, folder, names.name[i], &inner), st, done);
        TRY_GOTO(locate_has_file(inner, "adapter_config.json", &adapter), st, done);
        if (adapter && !is_step_name(str_of(names.name[i])))
            named = inner;
        n++;
    }
    if (n == 1)
        *out = named;
    st = LT_OK;
done:
    file_list_release(&names);
    return st;
}

/* ---- other formats ----------------------------------------------------------------------------------------------------------- */

/* Names inside a checkpoint of another format, for users who give the inner folder. The outer ones are told by st_set_open. */
static const struct {
    const char *prefix, *suffix, *format, *conversion;
} inner[] = {
    {"mp_rank_", "_model_states.pt", "a DeepSpeed checkpoint", "python PARENT/zero_to_fp32.py PARENT OUT --safe_serialization"},
    {"bf16_zero_pp_rank_", ".pt", "a DeepSpeed checkpoint", "python PARENT/zero_to_fp32.py PARENT OUT --safe_serialization"},
    {"mp_rank_", "", "a Megatron checkpoint",
     "python examples/conversion/convert_checkpoints.py export --hf-model ID --megatron-path FOLDER --hf-path OUT (of Megatron Bridge)"},
    {"pytorch_model_fsdp_", "", "a distributed checkpoint of PyTorch", "accelerate merge-weights FOLDER/pytorch_model_fsdp_0 OUT"},
};
enum { N_INNER = sizeof inner / sizeof *inner };

static Status refuse_inner(const char *folder)
{
    FileList names = {0};
    Status st = dir_list(folder, &names);

    for (int k = 0; st == LT_OK && k < N_INNER; k++)
        for (size_t i = 0; st == LT_OK && i < names.count; i++) {
            const Str name = str_of(names.name[i]);

            if (str_starts(name, str_of(inner[k].prefix)) && str_ends(name, str_of(inner[k].suffix)))
                st = FAIL(LT_E_INPUT, "%s: no safetensors but %s ('%s'); convert it first: %s", folder, inner[k].format, names.name[i],
                          inner[k].conversion);
        }
    file_list_release(&names);
    return st;
}

/* The folder holds no safetensors: st_set_open says what it holds instead. */
static Status refuse_format(const char *folder)
{
    StSet set;

    TRY(refuse_inner(folder));
    TRY(st_set_open(&set, folder));
    st_set_close(&set);
    return FAIL(LT_E_INPUT, "%s: the weights appeared only now; is something still writing them?", folder);
}

/* ---- kinds ------------------------------------------------------------------------------------------------------------------- */

static Status check_adapter(const char *folder)
{
    bool here, pickled;

    TRY(locate_has_file(folder, "adapter_model.safetensors", &here));
    if (here)
        return LT_OK;
    TRY(locate_has_file(folder, "adapter_model.bin", &pickled));
    return pickled ? refuse_format(folder)
                   : FAIL(LT_E_INPUT, "%s: expected adapter_model.safetensors beside adapter_config.json, found none", folder);
}

static Status has_model(const char *folder, bool *out)
{
    TRY(locate_has_file(folder, "model.safetensors", out));
    return *out ? LT_OK : locate_has_file(folder, "model.safetensors.index.json", out);
}

/* A run's folder often holds the final model too; where that is in pickle files, they are what was meant. */
static Status has_pickled_model(const char *folder, bool *out)
{
    TRY(locate_has_file(folder, "pytorch_model.bin", out));
    return *out ? LT_OK : locate_has_file(folder, "pytorch_model.bin.index.json", out);
}

Status folder_kind(const char *folder, FolderKind *out)
{
    bool adapter, model, pickled;

    TRY(locate_has_file(folder, "adapter_config.json", &adapter));
    TRY(has_model(folder, &model));
    if (adapter) {
        TRY(check_adapter(folder));
    } else if (!model) {
        TRY(has_pickled_model(folder, &pickled));
        if (!pickled)
            TRY(refuse_run(folder));
        return refuse_format(folder);
    }
    *out = adapter ? FOLDER_ADAPTER : FOLDER_MODEL;
    return LT_OK;
}
