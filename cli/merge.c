/* lethe merge: an adapter added to its base, written as a model folder. */
#include "cli/common.h"
#include "cli/print.h"
#include "cli/verbs.h"

#include "model/merge.h"

typedef struct MergeOptions {
    CommonOptions common;
    const char *out;
} MergeOptions;

static const Option merge_options[] = {
    {.name = "out", .kind = OPTION_TEXT, .value = "DIR", .offset = offsetof(MergeOptions, out), .required = true, .group = "Files",
     .help = "the merged model: config.json, model.safetensors, the tokenizer's files; --dtype auto keeps the type the base is stored in"},
    {0},
};

static Status print_merged(const Variant *v, const char *out, bool json)
{
    json_t *result = json_object();
    Status st;

    TRY_GOTO(json_put(result, "out", print_name(out)), st, done);
    TRY_GOTO(json_put(result, "base", print_name(v->base.path)), st, done);
    TRY_GOTO(json_put(result, "adapter", print_name(v->folder->path)), st, done);
    TRY_GOTO(json_put(result, "dtype", json_string(dtype_name(v->model->dtype))), st, done);
    TRY_GOTO(json_put(result, "parameters", json_integer(config_parameter_count(&v->model->cfg))), st, done);
    st = json ? print_json(result) : print_fields(result);
done:
    json_decref(result);
    return st;
}

static Status merge_run(void *options, const char *const *argument, size_t n_argument, const char *command_line)
{
    const MergeOptions *o = options;
    Device *dev = NULL;
    Variant v = {0};
    size_t unknown = 0;
    DType dtype;
    Status st;

    (void)n_argument, (void)command_line;
    TRY_GOTO(common_open(&dev, &dtype, &o->common), st, done);
    TRY_GOTO(variant_open(&v, argument[1], argument[0], &unknown), st, done);
    if (v.folder == NULL) {
        st = FAIL(LT_E_INPUT, "%s: expected an adapter behind the base, found a model", argument[1]);
        goto done;
    }
    if (o->common.dtype == 0) /* auto */
        TRY_GOTO(checkpoint_stored_dtype(v.checkpoint, &dtype), st, done);
    TRY_GOTO(merge_write(&v, dev, dtype, o->out), st, done);
    st = print_merged(&v, o->out, o->common.json);
done:
    variant_close(&v);
    device_close(dev);
    return st;
}

const Verb verb_merge = {
    .name = "merge",
    .arguments = "BASE ADAPTER --out DIR",
    .summary = "add an adapter to its base and write a model folder",
    .option = merge_options,
    .options_bytes = sizeof(MergeOptions),
    .min_arguments = 2,
    .max_arguments = 2,
    .run = merge_run,
    .examples = "  lethe merge models/llama runs/lora/checkpoints/step-500 --out models/merged\n"
                "  lethe merge models/llama adapters/a --out models/merged --dtype f32\n",
};
