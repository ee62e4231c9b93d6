#include "model/runinfo_fields.h"

#include "core/file.h"
#include "model/locate_hub.h"
#include "model/locate_text.h"
#include "model/params.h"

#include <math.h>

enum { ADAPTER_CONFIG_MAX = 16 << 20, TRAINER_STATE_MAX = 256 << 20 };

/* ---- target modules ----------------------------------------------------------------------------------------------------------- */

/* Sets of modules as bits, one a LoRA target of the parameter table in its order. */
static const ParamId attention[] = {PARAM_Q, PARAM_K, PARAM_V, PARAM_O};
static const ParamId mlp[] = {PARAM_GATE, PARAM_UP, PARAM_DOWN};

static uint32_t set_of(const ParamId *id, size_t n)
{
    uint32_t set = 0;
    for (size_t i = 0; i < n; i++)
        set |= UINT32_C(1) << id[i];
    return set;
}

/* The bit of a module by its name, or by a way that ends in it; 0 for what is no LoRA target of ours. */
static uint32_t module_bit(Str name)
{
    size_t dot;
    while ((dot = str_find(name, str_of("."), 0)) != SIZE_MAX)
        name = str_slice(name, dot + 1, name.len);
    for (int i = 0; i < PARAM_KINDS; i++)
        if (param_rows[i].lora_target && str_is(name, param_rows[i].module))
            return UINT32_C(1) << i;
    return 0;
}

static void add_name(StrBuf *out, Str name)
{
    if (out->len > 0)
        strbuf_add_char(out, ',');
    strbuf_add_str(out, name);
}

static void add_known(StrBuf *out, uint32_t set)
{
    for (int i = 0; i < PARAM_KINDS; i++)
        if (set >> i & 1)
            add_name(out, str_of(param_rows[i].module));
}

static Status read_list(Arena *arena, JsonAt list, uint32_t *set, StrBuf *others)
{
    size_t n;

    TRY(json_to_array(list, &n));
    for (size_t i = 0; i < n; i++) {
        const JsonAt at = json_element(&list, i);
        const char *name;

        TRY(locate_text(arena, at, &name));
        const uint32_t bit = module_bit(str_of(name));
        *set |= bit;
        if (bit == 0)
            add_name(others, str_of(name));
    }
    return strbuf_status(others);
}

static Status name_list(Arena *arena, JsonAt list, const char **out)
{
    const uint32_t of_attention = set_of(attention, sizeof attention / sizeof *attention), of_mlp = set_of(mlp, sizeof mlp / sizeof *mlp);
    StrBuf others, all;
    uint32_t set = 0;
    Status st;

    strbuf_init(&others);
    strbuf_init(&all);
    TRY_GOTO(read_list(arena, list, &set, &others), st, done);
    if (others.len == 0 && set == (of_attention | of_mlp))
        strbuf_add_text(&all, "all");
    else if (others.len == 0 && (set == of_attention || set == of_mlp))
        strbuf_add_text(&all, set == of_mlp ? "mlp" : "attention");
    else
        add_known(&all, set);
    if (others.len > 0)
        add_name(&all, strbuf_str(&others));
    TRY_GOTO(strbuf_status(&all), st, done);
    if (!locate_text_is_plain(strbuf_str(&all))) {
        st = json_fail(list, "expected modules whose names fit 4096 bytes, found %zu bytes of them", all.len);
        goto done;
    }
    const char *copy = arena_strndup(arena, all.data, all.len);
    if (copy != NULL)
        *out = copy;
    else
        st = LT_E_NOMEM;
done:
    strbuf_release(&all);
    strbuf_release(&others);
    return st;
}

Status run_targets_from_json(Arena *arena, JsonAt at, const char **out)
{
    if (json_is_array(at.value))
        return name_list(arena, at, out);
    if (!json_is_string(at.value))
        return json_expected(at, "a list of module names, or a string");
    TRY(locate_text(arena, at, out));
    if (strcmp(*out, "all-linear") == 0)
        *out = "all";
    return LT_OK;
}

/* ---- adapter_config.json -------------------------------------------------------------------------------------------------------- */

/* As a user would write it: a folder, "org/name", or "org/name@revision" where the adapter was trained on one. */
static Status read_base(RunInfo *info, Arena *arena, const JsonAt *config)
{
    const char *revision = "";
    bool is_id;
    StrBuf base;
    HubId id;

    TRY(locate_opt_text(arena, config, "base_model_name_or_path", &info->base));
    TRY(locate_opt_text(arena, config, "revision", &revision));
    TRY(hub_parse(&id, arena, info->base, &is_id));
    if (!is_id || id.revision != NULL || revision[0] == '\0')
        return LT_OK;
    strbuf_init(&base);
    strbuf_addf(&base, "%s@%s", info->base, revision);
    Status st = strbuf_status(&base);
    const char *copy = st == LT_OK ? arena_strndup(arena, base.data, base.len) : NULL;
    strbuf_release(&base);
    if (copy == NULL)
        return LT_E_NOMEM;
    info->base = copy;
    return LT_OK;
}

static Status read_adapter(RunInfo *info, Arena *arena, const JsonAt *config)
{
    const JsonAt type = json_member(config, "peft_type"), targets = json_member(config, "target_modules");
    Str text;

    TRY(json_to_object(*config));
    TRY(json_to_str(type, &text));
    if (!str_is(text, "LORA"))
        return json_expected(type, "\"LORA\"");
    info->method = "lora";
    TRY(json_opt_int(config, "r", 1, INT32_MAX, &info->rank));
    TRY(json_opt_double(config, "lora_alpha", &info->alpha));
    if (json_here(targets))
        TRY(run_targets_from_json(arena, targets, &info->targets));
    return read_base(info, arena, config);
}

/* ---- trainer_state.json --------------------------------------------------------------------------------------------------------- */

/* Python writes the NaN of a lost step as a bare word, which is no JSON. The copy has null in its place. */
static Status without_nan(StrBuf *out, Str text)
{
    static const char *const word[] = {"NaN", "-Infinity", "Infinity"};
    bool in_string = false;

    for (size_t i = 0; i < text.len; i++) {
        const char c = text.data[i];
        size_t len = 0;

        if (c == '"')
            in_string = !in_string;
        for (size_t w = 0; w < sizeof word / sizeof *word && !in_string && len == 0; w++)
            if (str_starts(str_slice(text, i, text.len), str_of(word[w])))
                len = strlen(word[w]);
        if (len > 0) {
            strbuf_add_text(out, "null");
            i += len - 1;
            continue;
        }
        strbuf_add_char(out, c);
        if (in_string && c == '\\' && i + 1 < text.len)
            strbuf_add_char(out, text.data[++i]);
    }
    return strbuf_status(out);
}

static Status load_trainer_state(json_t **out, const char *file)
{
    StrBuf raw, text;
    Status st;

    strbuf_init(&raw);
    strbuf_init(&text);
    TRY_GOTO(file_read(file, TRAINER_STATE_MAX, &raw), st, done);
    TRY_GOTO(without_nan(&text, strbuf_str(&raw)), st, done);
    st = json_parse(out, strbuf_str(&text), file, 0);
done:
    strbuf_release(&text);
    strbuf_release(&raw);
    return st;
}

/* The last entry that has a learning rate; those of evaluations have none. */
static Status read_last_lr(RunInfo *info, const JsonAt *state)
{
    const JsonAt log = json_member(state, "log_history");
    size_t n;

    if (!json_here(log))
        return LT_OK;
    TRY(json_to_array(log, &n));
    while (n-- > 0 && isnan(info->lr)) {
        const JsonAt entry = json_element(&log, n);

        TRY(json_to_object(entry));
        TRY(json_opt_double(&entry, "learning_rate", &info->lr));
    }
    return LT_OK;
}

static Status read_trainer(RunInfo *info, const JsonAt *state)
{
    int64_t tokens = 0;

    TRY(json_to_object(*state));
    if (info->method[0] == '\0')
        info->method = "full";
    TRY(json_opt_int(state, "global_step", 0, INT64_MAX, &info->step));
    TRY(json_opt_double(state, "epoch", &info->epochs));
    TRY(json_opt_int(state, "num_input_tokens_seen", 0, INT64_MAX, &tokens));
    if (tokens > 0) /* 0 stands there when nobody counted */
        info->tokens = tokens;
    return read_last_lr(info, state);
}

Status run_read_foreign(RunInfo *info, Arena *arena, const char *folder)
{
    const char *adapter, *trainer;
    json_t *document;
    JsonAt root;
    Status st;

    TRY(locate_join(arena, folder, "adapter_config.json", &adapter));
    TRY(locate_join(arena, folder, "trainer_state.json", &trainer));
    if (file_exists(adapter)) {
        TRY(json_load_path(&document, adapter, ADAPTER_CONFIG_MAX));
        root = json_root(document, adapter, 0);
        st = read_adapter(info, arena, &root);
        json_decref(document);
        TRY(st);
    }
    if (!file_exists(trainer))
        return LT_OK;
    TRY(load_trainer_state(&document, trainer));
    root = json_root(document, trainer, 0);
    st = read_trainer(info, &root);
    json_decref(document);
    return st;
}
