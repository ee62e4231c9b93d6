#include "model/config_read.h"

#include "core/log.h"

static const struct {
    const char *name;
    RopeType type;
} rope_types[] = {
    {"default", ROPE_DEFAULT}, {"linear", ROPE_LINEAR}, {"dynamic", ROPE_DYNAMIC},
    {"llama3", ROPE_LLAMA3},   {"yarn", ROPE_YARN},     {"longrope", ROPE_LONGROPE},
};
enum { N_ROPE_TYPE = sizeof rope_types / sizeof *rope_types };

/* Far beyond any real value; between them no step of the tables in F32 turns into infinity minus infinity. */
static bool in_range(double x) { return x >= 1e-12 && x <= 1e12; }

static Status read_positive(const JsonAt *object, const char *key, double *out)
{
    TRY(json_opt_double(object, key, out));
    return in_range(*out) ? LT_OK : json_expected(json_member(object, key), "a number from 1e-12 to 1e12");
}

/* For numbers that a formula stands in for. */
static Status read_if_given(const JsonAt *object, const char *key, double *out)
{
    return json_here(json_member(object, key)) ? read_positive(object, key, out) : LT_OK;
}

/* The oldest files say "type", newer ones "rope_type". */
static JsonAt type_of(const JsonAt *dict)
{
    const JsonAt newer = json_member(dict, "rope_type");

    return json_here(newer) ? newer : json_member(dict, "type");
}

static Status read_type(RopeConfig *rope, const JsonAt *dict)
{
    const JsonAt at = type_of(dict), older = json_member(dict, "type");
    Str name = str_of("default");

    if (json_here(at))
        TRY(json_to_str(at, &name));
    if (json_here(older) && !json_equal(at.value, older.value))
        log_warning("%s: rope_type and type differ; rope_type is used", dict->file);
    for (int i = 0; i < N_ROPE_TYPE; i++)
        if (str_is(name, rope_types[i].name)) {
            rope->type = rope_types[i].type;
            return LT_OK;
        }
    return json_expected(at, "a RoPE type (default, linear, dynamic, llama3, yarn, longrope)");
}

static Status read_llama3(RopeConfig *rope, const JsonAt *dict)
{
    TRY(read_positive(dict, "low_freq_factor", &rope->low_freq_factor));
    TRY(read_positive(dict, "high_freq_factor", &rope->high_freq_factor));
    if (rope->high_freq_factor <= rope->low_freq_factor)
        return json_expected(json_member(dict, "high_freq_factor"), "more than low_freq_factor");
    return LT_OK;
}

static Status read_yarn(RopeConfig *rope, const JsonAt *dict)
{
    TRY(read_positive(dict, "beta_fast", &rope->beta_fast));
    TRY(read_positive(dict, "beta_slow", &rope->beta_slow));
    TRY(read_if_given(dict, "mscale", &rope->mscale));
    TRY(read_if_given(dict, "mscale_all_dim", &rope->mscale_all_dim));
    return json_opt_bool(dict, "truncate", &rope->truncate);
}

static Status read_stretch(const ModelConfig *cfg, const JsonAt *dict, const char *key, double *stretch)
{
    const JsonAt list = json_member(dict, key);
    size_t count;

    TRY(json_to_array(list, &count));
    if (count != (size_t)cfg->head_dim / 2)
        return json_fail(list, "expected a factor for each of head_dim / 2 = %lld frequencies, found %zu", (long long)cfg->head_dim / 2, count);
    for (size_t i = 0; i < count; i++) {
        const JsonAt at = json_element(&list, i);

        TRY(json_to_double(at, &stretch[i]));
        if (!in_range(stretch[i]))
            return json_expected(at, "a number from 1e-12 to 1e12");
    }
    return LT_OK;
}

/* Without a factor, the length the model was extended to over the one it was trained for. */
static Status read_longrope(ModelConfig *cfg, const JsonAt *dict)
{
    RopeConfig *rope = &cfg->rope;

    TRY(read_stretch(cfg, dict, "short_factor", rope->short_factor));
    TRY(read_stretch(cfg, dict, "long_factor", rope->long_factor));
    if (!json_here(json_member(dict, "factor")))
        rope->factor = (double)cfg->max_position_embeddings / (double)rope->original_max_position;
    /* the attention factor divides by its logarithm */
    if (rope->original_max_position < 2)
        return json_expected(json_member(dict, "original_max_position_embeddings"), "2 or more positions");
    return LT_OK;
}

/* The numbers each type needs; `dict` names them in messages. */
static Status read_numbers(ModelConfig *cfg, const JsonAt *root, const JsonAt *dict)
{
    RopeConfig *rope = &cfg->rope;
    const JsonAt factor = json_member(dict, "factor");

    if (rope->type != ROPE_DEFAULT && rope->type != ROPE_LONGROPE && !json_here(factor))
        return json_expected(factor, "a number from 1e-12 to 1e12");
    TRY(read_positive(dict, "factor", &rope->factor));
    TRY(json_opt_int(dict, "original_max_position_embeddings", 1, CONFIG_MAX_POSITION, &rope->original_max_position));
    TRY(json_opt_int(root, "original_max_position_embeddings", 1, CONFIG_MAX_POSITION, &rope->original_max_position));
    if (rope->type == ROPE_YARN || rope->type == ROPE_LONGROPE)
        TRY(read_if_given(dict, "attention_factor", &rope->attention_factor));
    switch (rope->type) {
    case ROPE_LLAMA3: return read_llama3(rope, dict);
    case ROPE_YARN: return read_yarn(rope, dict);
    case ROPE_LONGROPE: return read_longrope(cfg, dict);
    case ROPE_DYNAMIC:
        /* its exponent is head_dim / (head_dim - 2); a factor below 1 makes the base shrink, then negative */
        if (cfg->head_dim == 2)
            return json_fail(type_of(dict), "dynamic RoPE needs a head_dim above 2");
        return rope->factor >= 1 ? LT_OK : json_expected(factor, "1 or more");
    case ROPE_DEFAULT:
    case ROPE_LINEAR: break;
    }
    return LT_OK;
}

/* 8 and 8.0 are the same number. */
static bool same_value(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return !(json_number_value(a) < json_number_value(b)) && !(json_number_value(a) > json_number_value(b));
    return json_equal(a, b);
}

/* A key that only one of them has is no contradiction: rope_theta stands beside rope_scaling, and in rope_parameters. */
static bool contradict(const JsonAt *a, const JsonAt *b)
{
    const JsonAt type_a = type_of(a), type_b = type_of(b);
    const char *key;
    json_t *value;

    if (json_here(type_a) && json_here(type_b) && !json_equal(type_a.value, type_b.value))
        return true;
    json_object_foreach (a->value, key, value) {
        json_t *other = json_object_get(b->value, key);

        if (other != NULL && strcmp(key, "type") != 0 && strcmp(key, "rope_type") != 0 && !same_value(value, other))
            return true;
    }
    return false;
}

/* What changes the tables and is not done here; version 5 moved it into rope_parameters. */
static Status refuse_others(const JsonAt *object)
{
    static const char *const by_layer[] = {"full_attention", "sliding_attention"};
    double partial = 1;

    TRY(json_opt_double(object, "partial_rotary_factor", &partial));
    if (partial < 1 || partial > 1)
        return json_expected(json_member(object, "partial_rotary_factor"), "1 (rotation of the whole head)");
    for (size_t i = 0; i < sizeof by_layer / sizeof *by_layer; i++)
        if (json_here(json_member(object, by_layer[i])))
            return json_fail(json_member(object, by_layer[i]), "RoPE that differs between layers is not supported");
    return LT_OK;
}

/* transformers 4 writes rope_theta and rope_scaling, version 5 one rope_parameters; a file may hold both. */
Status config_read_rope(ModelConfig *cfg, const JsonAt *root)
{
    const JsonAt older = json_member(root, "rope_scaling"), newer = json_member(root, "rope_parameters");
    const JsonAt dict = json_here(older) ? older : newer;
    RopeConfig *rope = &cfg->rope;

    *rope = (RopeConfig){.type = ROPE_DEFAULT, .theta = 10000, .factor = 1, .beta_fast = 32, .beta_slow = 1, .truncate = true,
                         .original_max_position = cfg->max_position_embeddings};
    TRY(refuse_others(root));
    TRY(read_positive(root, "rope_theta", &rope->theta));
    if (!json_here(dict))
        return LT_OK;
    TRY(json_to_object(dict));
    TRY(refuse_others(&dict));
    if (json_here(older) && json_here(newer) && contradict(&older, &newer))
        log_warning("%s: rope_scaling and rope_parameters differ; rope_scaling is used", root->file);
    TRY(read_positive(&dict, "rope_theta", &rope->theta));
    TRY(read_type(rope, &dict));
    return read_numbers(cfg, root, &dict);
}
