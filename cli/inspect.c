/* lethe inspect: what a checkpoint is, from its headers alone; no weight is read. */
#include "cli/inspect.h"

#include "cli/verbs.h"
#include "model/tokenizer.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct InspectOptions {
    CommonOptions common;
    const char *base;
    bool manifest;
} InspectOptions;

static const Option inspect_options[] = {
    {.name = "base", .kind = OPTION_TEXT, .value = "CKPT", .offset = offsetof(InspectOptions, base), .group = "Files",
     .help = "the model that adapters are checked against (default: the one each adapter names)"},
    {.name = "manifest", .kind = OPTION_FLAG, .offset = offsetof(InspectOptions, manifest), .group = "Output",
     .help = "print how they were made as a table to edit and give to 'lethe score --manifest'"},
    {0},
};

static json_t *int_or_none(int64_t value) { return value < 0 ? json_null() : json_integer(value); }

/* A new object as a member of `object`, which owns it. */
static Status put_object(json_t *object, const char *key, json_t **member)
{
    json_t *fresh = json_object();

    TRY(json_put(object, key, fresh));
    *member = fresh;
    return LT_OK;
}

static Status describe_shape(json_t *out, const ModelConfig *cfg)
{
    json_t *shape = NULL;

    TRY(put_object(out, "shape", &shape));
    TRY(json_put(shape, "layers", json_integer(cfg->num_hidden_layers)));
    TRY(json_put(shape, "hidden", json_integer(cfg->hidden_size)));
    TRY(json_put(shape, "ffn", json_integer(cfg->intermediate_size)));
    TRY(json_put(shape, "heads", json_integer(cfg->num_attention_heads)));
    TRY(json_put(shape, "kv_heads", json_integer(cfg->num_key_value_heads)));
    TRY(json_put(shape, "head_size", json_integer(cfg->head_dim)));
    TRY(json_put(shape, "vocabulary", json_integer(cfg->vocab_size)));
    TRY(json_put(shape, "tied_head", json_boolean(cfg->tie_word_embeddings)));
    TRY(json_put(shape, "qkv_bias", json_boolean(cfg->qkv_bias)));
    TRY(json_put(shape, "qk_norm", json_boolean(cfg->qk_norm)));
    return json_put(shape, "sliding_window", cfg->sliding_window > 0 ? json_integer(cfg->sliding_window) : json_null());
}

static Status describe_rope(json_t *out, const ModelConfig *cfg)
{
    static const char *const names[] = {
        [ROPE_DEFAULT] = "default", [ROPE_LINEAR] = "linear", [ROPE_DYNAMIC] = "dynamic",
        [ROPE_LLAMA3] = "llama3",   [ROPE_YARN] = "yarn",     [ROPE_LONGROPE] = "longrope",
    };
    json_t *rope = NULL;

    TRY(put_object(out, "rope", &rope));
    TRY(json_put(rope, "type", json_string(names[cfg->rope.type])));
    TRY(json_put(rope, "theta", json_real(cfg->rope.theta)));
    if (cfg->rope.type != ROPE_DEFAULT)
        TRY(json_put(rope, "factor", json_real(cfg->rope.factor)));
    return json_put(rope, "positions", json_integer(cfg->max_position_embeddings));
}

Status inspect_dtypes(json_t *out, const StFile *file, size_t n_file)
{
    json_t *dtypes = NULL;

    TRY(put_object(out, "dtypes", &dtypes));
    for (size_t f = 0; f < n_file; f++)
        for (size_t i = 0; i < file[f].n_tensor; i++) {
            const StTensor *t = &file[f].tensor[i];
            const json_int_t before = json_integer_value(json_object_get(dtypes, t->dtype));
            TRY(json_put(dtypes, t->dtype, json_integer(before + t->count)));
        }
    return LT_OK;
}

Status inspect_files(json_t *out, const char *folder)
{
    json_t *files = NULL, *name = NULL;
    FileList list = {0};
    StrBuf path;
    FileId id;
    Status st;

    strbuf_init(&path);
    TRY_GOTO(put_object(out, "files", &files), st, done);
    TRY_GOTO(dir_list(folder, &list), st, done);
    for (size_t i = 0; i < list.count; i++) {
        TRY_GOTO(path_join(&path, folder, list.name[i]), st, done);
        if (!file_exists(path.data))
            continue;
        TRY_GOTO(file_id(path.data, &id), st, done);
        name = print_name(list.name[i]);
        TRY_GOTO(name != NULL ? json_put(files, json_string_value(name), json_integer((json_int_t)id.size)) : LT_E_NOMEM, st, done);
        json_decref(name);
        name = NULL;
    }
done:
    json_decref(name);
    file_list_release(&list);
    strbuf_release(&path);
    return st;
}

Status inspect_warn(json_t *warnings, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return json_push(warnings, json_string(text));
}

static Status describe_tokenizer(json_t *out, const Checkpoint *ckpt, json_t *warnings)
{
    json_t *object = NULL;
    Tokenizer *t = NULL;
    const char *file;
    Digest digest;
    Status st;

    TRY(locate_tokenizer_file(ckpt->path, &file));
    if (file == NULL) {
        TRY(json_put(out, "tokenizer", json_null()));
        TRY(json_put(out, "template", json_null()));
        return inspect_warn(warnings, "no tokenizer.json or tokenizer.model: score needs --tokenizer DIR");
    }
    TRY_GOTO(tokenizer_load(&t, ckpt->path), st, done);
    digest = tokenizer_digest(t);
    TRY_GOTO(put_object(out, "tokenizer", &object), st, done);
    TRY_GOTO(json_put(object, "tokens", json_integer(tokenizer_size(t))), st, done);
    TRY_GOTO(json_put(object, "bos", int_or_none(tokenizer_bos(t))), st, done);
    TRY_GOTO(json_put(object, "eos", int_or_none(tokenizer_eos(t))), st, done);
    TRY_GOTO(json_put(object, "pad", int_or_none(tokenizer_pad(t))), st, done);
    TRY_GOTO(json_put(object, "sha256", json_string(digest_hex(&digest).text)), st, done);
    const bool has_template = tokenizer_template_digest(t, &digest);
    TRY_GOTO(json_put(out, "template", has_template ? json_string(digest_hex(&digest).text) : json_null()), st, done);
    if (tokenizer_size(t) > ckpt->cfg.vocab_size)
        st = inspect_warn(warnings, "the tokenizer has %d tokens, the model rows for %" PRId64, (int)tokenizer_size(t), ckpt->cfg.vocab_size);
done:
    tokenizer_free(t);
    return st;
}

static Status describe_checkpoint(json_t *out, const Checkpoint *ckpt)
{
    json_t *warnings = json_array();
    size_t unknown = 0;
    Status st;

    TRY_GOTO(warnings != NULL ? LT_OK : FAIL(LT_E_NOMEM, "out of memory"), st, done);
    TRY_GOTO(checkpoint_check(ckpt, &unknown), st, done);
    if (unknown > 0)
        TRY_GOTO(inspect_warn(warnings, "%zu tensors that no part of the model reads", unknown), st, done);
    TRY_GOTO(json_put(out, "path", print_name(ckpt->path)), st, done);
    TRY_GOTO(json_put(out, "architecture", json_string(ckpt->cfg.arch->name)), st, done);
    TRY_GOTO(json_put(out, "parameters", json_integer(config_parameter_count(&ckpt->cfg))), st, done);
    TRY_GOTO(inspect_dtypes(out, ckpt->set.file, ckpt->set.n_file), st, done);
    TRY_GOTO(describe_shape(out, &ckpt->cfg), st, done);
    TRY_GOTO(describe_rope(out, &ckpt->cfg), st, done);
    TRY_GOTO(describe_tokenizer(out, ckpt, warnings), st, done);
    TRY_GOTO(inspect_origin(out, ckpt->path), st, done);
    TRY_GOTO(inspect_files(out, ckpt->path), st, done);
    st = json_put(out, "warnings", json_incref(warnings));
done:
    json_decref(warnings);
    return st;
}

static Status describe(json_t *out, Arena *arena, const char *argument, const char *base)
{
    Checkpoint *ckpt;
    Located place;

    TRY(locate_checkpoint(&place, arena, argument));
    if (place.kind == FOLDER_ADAPTER)
        return inspect_adapter(out, arena, &place, base);
    TRY(checkpoint_open(&ckpt, place.path));
    const Status st = describe_checkpoint(out, ckpt);
    checkpoint_close(ckpt);
    return st;
}

static Status inspect_run(void *options, const char *const *argument, size_t n_argument, const char *command_line)
{
    const InspectOptions *o = options;
    (void)command_line;
    if (o->manifest)
        return o->common.json ? FAIL(LT_E_USAGE, "--json and --manifest exclude each other") : inspect_manifest(argument, n_argument);
    json_t *root = json_object(), *all = json_array();
    Arena arena;
    Status st;

    arena_init(&arena);
    TRY_GOTO(json_put(root, "checkpoints", all), st, done);
    for (size_t i = 0; i < n_argument; i++) {
        json_t *one = json_object();
        TRY_GOTO(json_push(all, one), st, done);
        TRY_GOTO(describe(one, &arena, argument[i], o->base), st, done);
        if (o->common.json)
            continue;
        printf("%s%s\n", i > 0 ? "\n" : "", argument[i]);
        TRY_GOTO(json_object_del(one, "path") == 0 ? print_fields(one) : FAIL(LT_E_FAIL, "cannot describe '%s'", argument[i]), st, done);
    }
    if (o->common.json)
        st = print_json(root);
done:
    arena_release(&arena);
    json_decref(root);
    return st;
}

const Verb verb_inspect = {
    .name = "inspect",
    .arguments = "CKPT... [--json|--manifest]",
    .summary = "say what checkpoints are: architecture, parameters, dtypes, RoPE, tokenizer, template, how made, files, warnings",
    .option = inspect_options,
    .options_bytes = sizeof(InspectOptions),
    .min_arguments = 1,
    .max_arguments = -1,
    .run = inspect_run,
    .examples = "  lethe inspect models/llama\n  lethe inspect runs/*/checkpoints/* --json\n  lethe inspect runs/*/checkpoints/* --manifest > manifest.tsv\n",
};
