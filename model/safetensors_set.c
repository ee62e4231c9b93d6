#include "model/safetensors.h"

#include "core/json.h"

#include <stdlib.h>

enum { INDEX_MAX_BYTES = 256 << 20, INDEX_MAX_SHARDS = 100000 };

/* ---- folders without safetensors ------------------------------------------------------------------------------------------ */

/* How the name of a file or folder gives away what wrote it, and the usual way out. The more telling names stand first. */
static const struct {
    const char *prefix, *suffix, *format, *conversion;
} foreign[] = {
    {"global_step", "", "a DeepSpeed checkpoint", "python FOLDER/zero_to_fp32.py FOLDER OUT --safe_serialization"},
    {"zero_pp_rank_", ".pt", "a DeepSpeed checkpoint", "python zero_to_fp32.py FOLDER OUT --safe_serialization"},
    {"latest_checkpointed_iteration", ".txt", "a Megatron checkpoint",
     "python examples/conversion/convert_checkpoints.py export --hf-model ID --megatron-path FOLDER --hf-path OUT (of Megatron Bridge)"},
    {"iter_", "", "a Megatron checkpoint",
     "python examples/conversion/convert_checkpoints.py export --hf-model ID --megatron-path FOLDER --hf-path OUT (of Megatron Bridge)"},
    {"", ".distcp", "a distributed checkpoint of PyTorch", "accelerate merge-weights FOLDER OUT"},
    {"pytorch_model", ".bin", "pickle weights, which can run code when they are read",
     "python -c \"from transformers import AutoModelForCausalLM as M; M.from_pretrained('FOLDER', torch_dtype='auto').save_pretrained('OUT')\""},
    {"", ".pth", "pickle weights, which can run code when they are read", "load it where you trust it and save it with safetensors.torch.save_file"},
    {"", ".pt", "pickle weights, which can run code when they are read", "load it where you trust it and save it with safetensors.torch.save_file"},
    {"", ".bin", "pickle weights, which can run code when they are read", "load it where you trust it and save it with safetensors.torch.save_file"},
};
enum { N_FOREIGN = sizeof foreign / sizeof *foreign };

/* Pickles that trainers leave beside any weights, and that hold none. */
static bool is_trainer_state(Str name)
{
    static const char *const prefix[] = {"training_args.", "optimizer.", "scheduler.", "scaler.", "rng_state"};

    for (size_t i = 0; i < sizeof prefix / sizeof *prefix; i++)
        if (str_starts(name, str_of(prefix[i])))
            return true;
    return false;
}

static bool has_safetensors(const FileList *names)
{
    for (size_t i = 0; i < names->count; i++)
        if (str_ends(str_of(names->name[i]), str_of(".safetensors")))
            return true;
    return false;
}

Status st_refuse_foreign(const char *folder)
{
    FileList names = {0};
    Status st = dir_list(folder, &names);

    for (int k = 0; st == LT_OK && k < N_FOREIGN && !has_safetensors(&names); k++)
        for (size_t i = 0; st == LT_OK && i < names.count; i++) {
            const Str name = str_of(names.name[i]);

            if (!is_trainer_state(name) && str_starts(name, str_of(foreign[k].prefix)) && str_ends(name, str_of(foreign[k].suffix)))
                st = FAIL(LT_E_INPUT, "%s: no safetensors but %s ('%s'); convert it first: %s", folder, foreign[k].format, names.name[i],
                          foreign[k].conversion);
        }
    file_list_release(&names);
    return st;
}

/* ---- tensors of all files by name ----------------------------------------------------------------------------------------- */

static Status add_file(StSet *set, const char *folder, const char *name)
{
    const int64_t index = (int64_t)set->n_file;
    StFile *file = &set->file[set->n_file];
    StrBuf path;
    Status st;

    strbuf_init(&path);
    TRY_GOTO(path_join(&path, folder, name), st, done);
    TRY_GOTO(st_open(file, path.data), st, done);
    set->n_file++;
    for (size_t i = 0; i < file->n_tensor; i++) {
        const StTensor *t = &file->tensor[i];
        int64_t other;

        if (map_get(&set->by_name, t->name, &other)) {
            st = FAIL(LT_E_INPUT, "%s: tensor '%s' is in '%s' too", path.data, t->name.data, set->file[other >> 32].path);
            goto done;
        }
        TRY_GOTO(map_put(&set->by_name, t->name, index << 32 | (int64_t)i, NULL), st, done);
    }
done:
    strbuf_release(&path);
    return st;
}

const StTensor *st_set_find(const StSet *set, Str name, const StFile **file)
{
    int64_t at;

    if (!map_get(&set->by_name, name, &at))
        return NULL;
    *file = &set->file[at >> 32];
    return &(*file)->tensor[at & UINT32_MAX];
}

/* ---- the index of a sharded model ----------------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* A shard is a file of the same folder: a name with a way in it could lead anywhere. */
static Status check_shard_name(JsonAt at, Str name)
{
    if (name.len == 0 || memchr(name.data, '\0', name.len) != NULL || memchr(name.data, '/', name.len) != NULL ||
        memchr(name.data, '\\', name.len) != NULL || !str_ends(name, str_of(".safetensors")))
        return json_expected(at, "a plain file name ending in .safetensors");
    return LT_OK;
}

/* The different shard names of the map, sorted, so that their order (and a digest over them) is the same for any order in the file.
 * They point into the document. */
static Status shard_names(JsonAt weight_map, const char **name, size_t *n_name)
{
    const char *key;
    json_t *value;
    Map seen;
    Status st = LT_OK;

    map_init(&seen);
    json_object_foreach(weight_map.value, key, value)
    {
        const JsonAt at = json_member(&weight_map, key);
        bool fresh;
        Str text;

        TRY_GOTO(json_to_str(at, &text), st, done);
        TRY_GOTO(check_shard_name(at, text), st, done);
        TRY_GOTO(map_put(&seen, text, 0, &fresh), st, done);
        if (fresh && *n_name == INDEX_MAX_SHARDS) {
            st = json_fail(weight_map, "expected at most %d shards", INDEX_MAX_SHARDS);
            goto done;
        }
        if (fresh)
            name[(*n_name)++] = text.data;
    }
    qsort(name, *n_name, sizeof *name, by_text);
done:
    map_release(&seen);
    return st;
}

/* Every tensor of the map is in the shard it names, and the shards hold nothing else. */
static Status check_map(const StSet *set, JsonAt weight_map)
{
    const char *key;
    json_t *value;
    size_t len;

    json_object_keylen_foreach(weight_map.value, key, len, value)
    {
        const JsonAt at = json_member(&weight_map, key);
        const StFile *file;

        if (st_set_find(set, (Str){key, len}, &file) == NULL)
            return json_fail(at, "shard '%s' does not hold this tensor", json_string_value(value));
        if (!str_is(path_tail(file->path), json_string_value(value)))
            return json_fail(at, "expected in '%s', found in '%s'", json_string_value(value), file->path);
    }
    for (size_t i = 0; i < set->by_name.count; i++) {
        const Str name = map_key(&set->by_name, i);

        if (json_object_getn(weight_map.value, name.data, name.len) == NULL)
            return json_fail(weight_map, "expected every tensor of the shards, found no '" STR_FORMAT "' of '%s'", STR_ARG(name),
                             set->file[map_value(&set->by_name, i) >> 32].path);
    }
    return LT_OK;
}

static Status open_shards(StSet *set, const char *folder, const JsonAt *root)
{
    const JsonAt weight_map = json_member(root, "weight_map");
    const char **name = NULL;
    size_t n_name = 0;
    Status st;

    TRY(json_to_object(weight_map));
    if (json_object_size(weight_map.value) == 0)
        return json_fail(weight_map, "expected tensors, found none");
    TRY(MEM_NEW(name, json_object_size(weight_map.value)));
    TRY_GOTO(shard_names(weight_map, name, &n_name), st, done);
    TRY_GOTO(MEM_NEW(set->file, n_name), st, done);
    for (size_t i = 0; i < n_name; i++)
        TRY_GOTO(add_file(set, folder, name[i]), st, done);
    st = check_map(set, weight_map);
done:
    mem_free(name);
    return st;
}

static Status open_index(StSet *set, const char *folder, const char *path)
{
    json_t *document;
    JsonAt root;
    Status st;

    TRY(json_load_path(&document, path, INDEX_MAX_BYTES));
    root = json_root(document, path, 0);
    st = open_shards(set, folder, &root);
    json_decref(document);
    return st;
}

Status st_set_open(StSet *set, const char *folder)
{
    StSet opened = {0};
    StrBuf path;
    Status st;

    map_init(&opened.by_name);
    strbuf_init(&path);
    TRY_GOTO(path_join(&path, folder, "model.safetensors"), st, done);
    if (file_exists(path.data)) {
        TRY_GOTO(MEM_NEW(opened.file, 1), st, done);
        st = add_file(&opened, folder, "model.safetensors");
        goto done;
    }
    TRY_GOTO(path_join(&path, folder, "model.safetensors.index.json"), st, done);
    if (file_exists(path.data)) {
        st = open_index(&opened, folder, path.data);
        goto done;
    }
    TRY_GOTO(st_refuse_foreign(folder), st, done);
    st = FAIL(LT_E_INPUT, "%s: expected model.safetensors or model.safetensors.index.json, found neither", folder);
done:
    strbuf_release(&path);
    if (st == LT_OK)
        *set = opened;
    else
        st_set_close(&opened);
    return st;
}

void st_set_close(StSet *set)
{
    for (size_t i = 0; i < set->n_file; i++)
        st_close(&set->file[i]);
    mem_free(set->file);
    map_release(&set->by_name);
    *set = (StSet){0};
}
