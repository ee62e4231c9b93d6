#include "cli/options.h"

#include "core/nearest.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

const char *const dtype_choices[] = {"auto", "f32", "bf16", "f16", NULL};

const Option common_options[] = {
    {.name = "device", .kind = OPTION_TEXT, .value = "NAME", .offset = offsetof(CommonOptions, device), .group = "Common options",
     .help = "auto, cpu or cuda[:N]; auto: the GPU with most free memory, else the CPU (default auto)"},
    {.name = "dtype", .kind = OPTION_CHOICE, .offset = offsetof(CommonOptions, dtype), .choices = dtype_choices,
     .help = "type that weights and activations are kept in; auto: f32 on the CPU, the stored type on a GPU (default auto)"},
    {.name = "threads", .kind = OPTION_INT, .value = "N", .offset = offsetof(CommonOptions, threads), .min = 0, .max = 4096,
     .help = "threads to compute with; 0: as many as this process may use (default 0); results do not depend on it"},
    {.name = "seed", .kind = OPTION_INT, .value = "N", .offset = offsetof(CommonOptions, seed), .min = 0, .max = 0x1p63,
     .help = "seed of everything drawn at random (default 0)"},
    {.name = "quiet", .kind = OPTION_FLAG, .offset = offsetof(CommonOptions, quiet), .help = "nothing on stderr but errors"},
    {.name = "json", .kind = OPTION_FLAG, .offset = offsetof(CommonOptions, json), .help = "the result as one JSON document on stdout"},
    {.name = "help", .kind = OPTION_FLAG, .offset = offsetof(CommonOptions, help), .help = "this text"},
    {0},
};

static const Option *option_find(const Option *table, Str name)
{
    for (const Option *o = table; o->name != NULL; o++)
        if (str_is(name, o->name))
            return o;
    return NULL;
}

/* LT_E_USAGE that suggests the nearest option of the verb, or says where they are listed. */
static Status unknown_option(const Verb *verb, Str name)
{
    enum { MOST = 64 };
    const char *names[MOST + 1] = {NULL};
    size_t n = 0;

    for (const Option *o = verb->option; o->name != NULL && n < MOST; o++)
        names[n++] = o->name;
    for (const Option *o = common_options; o->name != NULL && n < MOST; o++)
        names[n++] = o->name;
    const char *near = nearest_name(name, names);
    if (near != NULL)
        return FAIL(LT_E_USAGE, "unknown option '--" STR_FORMAT "' of 'lethe %s': did you mean '--%s'?", STR_ARG(name), verb->name, near);
    return FAIL(LT_E_USAGE, "unknown option '--" STR_FORMAT "' of 'lethe %s': 'lethe help %s' lists its options", STR_ARG(name), verb->name,
                verb->name);
}

static bool has_bounds(const Option *o) { return o->min < o->max; }

static Status expected_number(const Option *o, const char *what, const char *found)
{
    if (!has_bounds(o))
        return FAIL(LT_E_USAGE, "option '--%s': expected %s, found '%s'", o->name, what, found);
    if (o->max >= 0x1p53)
        return FAIL(LT_E_USAGE, "option '--%s': expected %s of at least %.17g, found '%s'", o->name, what, o->min, found);
    return FAIL(LT_E_USAGE, "option '--%s': expected %s from %.17g to %.17g, found '%s'", o->name, what, o->min, o->max, found);
}

/* strto* skip white space and take a plus sign, and some of what they accept ("0x10", "inf") nobody means: the first byte decides. */
static bool begins_number(const char *text)
{
    const char *digit = *text == '-' ? text + 1 : text;
    return *digit >= '0' && *digit <= '9' && !(digit[0] == '0' && (digit[1] == 'x' || digit[1] == 'X'));
}

static Status set_int(const Option *o, void *field, const char *value)
{
    char *end = NULL;

    errno = 0;
    const long long number = begins_number(value) ? strtoll(value, &end, 10) : 0;
    if (end == NULL || *end != '\0' || errno != 0 || (has_bounds(o) && ((double)number < o->min || (double)number > o->max)))
        return expected_number(o, "an integer", value);
    *(int64_t *)field = number;
    return LT_OK;
}

static Status set_real(const Option *o, void *field, const char *value)
{
    char *end = NULL;

    const double number = begins_number(value) ? strtod(value, &end) : 0.0;
    if (end == NULL || *end != '\0' || !isfinite(number) || (has_bounds(o) && (number < o->min || number > o->max)))
        return expected_number(o, "a number", value);
    *(double *)field = number;
    return LT_OK;
}

static Status set_choice(const Option *o, void *field, const char *value)
{
    StrBuf all;
    Status st;

    for (int i = 0; o->choices[i] != NULL; i++)
        if (strcmp(value, o->choices[i]) == 0) {
            *(int *)field = i;
            return LT_OK;
        }
    strbuf_init(&all);
    for (int i = 0; o->choices[i] != NULL; i++)
        strbuf_addf(&all, "%s%s", i == 0 ? "" : o->choices[i + 1] != NULL ? ", " : " or ", o->choices[i]);
    const char *near = nearest_name(str_of(value), o->choices);
    st = strbuf_status(&all);
    if (st == LT_OK && near != NULL)
        st = FAIL(LT_E_USAGE, "option '--%s': expected %s, found '%s': did you mean '%s'?", o->name, all.data, value, near);
    else if (st == LT_OK)
        st = FAIL(LT_E_USAGE, "option '--%s': expected %s, found '%s'", o->name, all.data, value);
    strbuf_release(&all);
    return st;
}

static Status list_add(OptionList *list, const char *item)
{
    TRY(MEM_GROW(list->item, list->cap, list->count + 1));
    list->item[list->count++] = item;
    return LT_OK;
}

static Status set_value(const Option *o, void *options, const char *value)
{
    void *field = (char *)options + o->offset;

    if (o->kind != OPTION_FLAG && *value == '\0')
        return FAIL(LT_E_USAGE, "option '--%s': the value is empty", o->name);
    switch (o->kind) {
    case OPTION_FLAG:
        *(bool *)field = true;
        return LT_OK;
    case OPTION_INT:
        return set_int(o, field, value);
    case OPTION_REAL:
        return set_real(o, field, value);
    case OPTION_TEXT:
        *(const char **)field = value;
        return LT_OK;
    case OPTION_CHOICE:
        return set_choice(o, field, value);
    case OPTION_LIST:
        return list_add(field, value);
    }
    return LT_OK;
}

/* argv[*at] is an option; moves *at onto its value if that stands apart. */
static Status take_option(const Verb *verb, int argc, char **argv, int *at, void *options)
{
    const char *text = argv[*at] + 2, *equals = strchr(text, '=');
    const Str name = {text, equals != NULL ? (size_t)(equals - text) : strlen(text)};
    const Option *o = option_find(verb->option, name);

    if (o == NULL)
        o = option_find(common_options, name);
    if (o == NULL)
        return unknown_option(verb, name);
    if (o->kind == OPTION_FLAG && equals != NULL)
        return FAIL(LT_E_USAGE, "option '--%s' takes no value, '%s' found", o->name, equals + 1);
    if (o->kind == OPTION_FLAG || equals != NULL)
        return set_value(o, options, equals != NULL ? equals + 1 : "");
    if (*at + 1 >= argc)
        return FAIL(LT_E_USAGE, "option '--%s' needs a value", o->name);
    const char *value = argv[*at + 1];
    /* A forgotten value would swallow the next option and be noticed hours later. */
    if (value[0] == '-' && value[1] == '-')
        return FAIL(LT_E_USAGE, "option '--%s' needs a value, option '%s' found", o->name, value);
    ++*at;
    return set_value(o, options, value);
}

static Status check_count(const Verb *verb, const OptionList *arguments)
{
    if (arguments->count < (size_t)verb->min_arguments)
        return FAIL(LT_E_USAGE, "'lethe %s' needs %s%d argument%s, %zu given: lethe %s %s", verb->name,
                    verb->max_arguments == verb->min_arguments ? "" : "at least ", verb->min_arguments, verb->min_arguments == 1 ? "" : "s",
                    arguments->count, verb->name, verb->arguments);
    if (verb->max_arguments >= 0 && arguments->count > (size_t)verb->max_arguments)
        return FAIL(LT_E_USAGE, "'lethe %s' takes %s%d argument%s, '%s' is one too many: lethe %s %s", verb->name,
                    verb->max_arguments == verb->min_arguments ? "" : "at most ", verb->max_arguments, verb->max_arguments == 1 ? "" : "s",
                    arguments->item[verb->max_arguments], verb->name, verb->arguments);
    return LT_OK;
}

static Status check_required(const Verb *verb, const void *options)
{
    for (const Option *o = verb->option; o->name != NULL; o++) {
        const void *field = (const char *)options + o->offset;
        if (o->required && (o->kind == OPTION_LIST ? ((const OptionList *)field)->count == 0 : *(const char *const *)field == NULL))
            return FAIL(LT_E_USAGE, "'lethe %s' needs --%s %s: lethe %s %s", verb->name, o->name, o->value, verb->name, verb->arguments);
    }
    return LT_OK;
}

Status options_parse(const Verb *verb, int argc, char **argv, void *options, OptionList *arguments)
{
    CommonOptions *common = options;
    bool only_arguments = false;

    memset(options, 0, verb->options_bytes);
    common->device = "auto";
    if (verb->defaults != NULL)
        verb->defaults(options);
    for (int i = 0; i < argc; i++) {
        const char *text = argv[i];
        if (only_arguments || text[0] != '-' || text[1] == '\0')
            TRY(list_add(arguments, text));
        else if (text[1] != '-')
            return FAIL(LT_E_USAGE, "unknown option '%s': options are long, as in --help", text);
        else if (text[2] == '\0')
            only_arguments = true;
        else
            TRY(take_option(verb, argc, argv, &i, options));
    }
    if (common->help)
        return LT_OK;
    TRY(check_count(verb, arguments));
    return check_required(verb, options);
}

void option_list_release(OptionList *list)
{
    mem_free(list->item);
    *list = (OptionList){0};
}

void options_release(const Verb *verb, void *options)
{
    for (const Option *o = verb->option; o->name != NULL; o++)
        if (o->kind == OPTION_LIST)
            option_list_release((OptionList *)(void *)((char *)options + o->offset));
}
