/* results_<time>.json: lm-eval's keys in lm-eval's order, then our own. */
#include "eval/score/results.h"

#include "core/clock.h"
#include "core/version.h"

#include <math.h>
#include <stdlib.h>

/* The harness whose rules and files these are. */
static const char *const lm_eval_version = "0.4.13";

static Status put_object(json_t *parent, const char *key, json_t **object)
{
    *object = json_object();
    return json_put(parent, key, *object);
}

/* lm-eval writes "N/A" for an error it does not have. */
static json_t *error_json(double error)
{
    return isnan(error) ? json_string("N/A") : json_real(error);
}

static Status put_scores(json_t *results, const TaskResult *t)
{
    const char *name = t->plan->task->name;
    json_t *scores = json_pack("{s:s, s:s, s:I}", "name", name, "alias", name, "sample_len", (json_int_t)t->plan->count);
    char key[64];

    TRY(json_put(results, name, scores));
    for (int m = 0; m < t->n_metric; m++) {
        snprintf(key, sizeof key, "%s,none", t->metric[m].metric);
        TRY(json_put(scores, key, json_real(t->metric[m].value)));
        snprintf(key, sizeof key, "%s_stderr,none", t->metric[m].metric);
        TRY(json_put(scores, key, error_json(t->metric[m].stderr_mean)));
    }
    return LT_OK;
}

static const char *torch_dtype(DType dtype)
{
    return dtype == LT_BF16 ? "bfloat16" : dtype == LT_F16 ? "float16" : "float32";
}

static Status put_data_files(json_t *config, const TaskPlan *plan)
{
    json_t *kwargs, *files;

    TRY(put_object(config, "dataset_kwargs", &kwargs));
    TRY(put_object(kwargs, "data_files", &files));
    if (plan->pool.path != NULL)
        TRY(json_put(files, plan->task->shot_split, json_string(plan->pool.path)));
    return json_put(files, plan->split, json_string(plan->scored.path));
}

/* The task's settings in lm-eval's words; its doc_to_text and the like are templates or code of its own and are left out. */
static Status put_config(json_t *configs, const ScoreResult *r, const TaskResult *t)
{
    const TaskPlan *plan = t->plan;
    json_t *config = json_pack("{s:s, s:s}", "task", plan->task->name, "dataset_path", "json"), *metrics;
    char split[32];

    TRY(json_put(configs, plan->task->name, config));
    TRY(put_data_files(config, plan));
    TRY(json_put(config, "training_split", json_string(plan->task->shot_split)));
    snprintf(split, sizeof split, "%.20s_split", plan->split);
    if (strcmp(split, "train_split") != 0)
        TRY(json_put(config, split, json_string(plan->split)));
    if (plan->profile.draws_one_more != plan->task->draws_one_more)
        TRY(json_put(config, "fewshot_split", json_string(plan->task->shot_split)));
    TRY(json_put(config, "description", json_string("")));
    TRY(json_put(config, "target_delimiter", json_string(" ")));
    TRY(json_put(config, "fewshot_delimiter", json_string("\n\n")));
    TRY(json_put(config, "num_fewshot", json_integer(plan->profile.shots)));
    metrics = json_array();
    TRY(json_put(config, "metric_list", metrics));
    for (int m = 0; m < t->n_metric; m++)
        TRY(json_push(metrics, json_pack("{s:s, s:s, s:b}", "metric", t->metric[m].metric, "aggregation", "mean", "higher_is_better", 1)));
    TRY(json_put(config, "output_type", json_string("multiple_choice")));
    TRY(json_put(config, "repeats", json_integer(1)));
    TRY(json_put(config, "should_decontaminate", json_false()));
    return json_put(config, "metadata", json_pack("{s:f, s:s, s:s}", "version", strtod(plan->profile.version, NULL), "pretrained", r->path,
                                                  "dtype", torch_dtype(r->dtype)));
}

static Status put_higher_is_better(json_t *higher, const TaskResult *t)
{
    json_t *metrics;

    TRY(put_object(higher, t->plan->task->name, &metrics));
    for (int m = 0; m < t->n_metric; m++)
        TRY(json_put(metrics, t->metric[m].metric, json_true()));
    return LT_OK;
}

/* Objects that hold one member a task, in lm-eval's order. */
static Status put_tasks(json_t *root, const ScoreResult *r)
{
    json_t *results, *groups, *configs, *versions, *shots, *higher, *samples;

    TRY(put_object(root, "results", &results));
    TRY(put_object(root, "group_subtasks", &groups));
    TRY(put_object(root, "configs", &configs));
    TRY(put_object(root, "versions", &versions));
    TRY(put_object(root, "n-shot", &shots));
    TRY(put_object(root, "higher_is_better", &higher));
    TRY(put_object(root, "n-samples", &samples));
    for (size_t i = 0; i < r->n_task; i++) {
        const TaskPlan *plan = r->task[i].plan;
        const char *name = plan->task->name;
        TRY(put_scores(results, &r->task[i]));
        TRY(put_config(configs, r, &r->task[i]));
        TRY(json_put(versions, name, json_real(strtod(plan->profile.version, NULL))));
        TRY(json_put(shots, name, json_integer(plan->profile.shots)));
        TRY(put_higher_is_better(higher, &r->task[i]));
        TRY(json_put(samples, name, json_pack("{s:I, s:I}", "original", (json_int_t)plan->scored.n_doc, "effective", (json_int_t)plan->count)));
    }
    return LT_OK;
}

/* As lm-eval names an adapter: on a base, as "peft". */
static json_t *model_args(const ScoreResult *r)
{
    if (r->base == NULL)
        return json_pack("{s:s, s:s}", "pretrained", r->path, "dtype", torch_dtype(r->dtype));
    return json_pack("{s:s, s:s, s:s}", "pretrained", r->base, "peft", r->path, "dtype", torch_dtype(r->dtype));
}

static Status put_run(json_t *root, const ScoreResult *r)
{
    char dtype[32];

    snprintf(dtype, sizeof dtype, "torch.%s", torch_dtype(r->dtype));
    /* Of lm-eval's seeds only the few-shot seed touches a score; the others are its defaults. */
    return json_put(root, "config",
                    json_pack("{s:s, s:o, s:I, s:s, s:s, s:s, s:s, s:[], s:s, s:n, s:o, s:i, s:{}, s:i, s:i, s:i, s:i}", "model", "lethe",
                              "model_args", model_args(r), "model_num_parameters",
                              (json_int_t)config_parameter_count(r->cfg), "model_dtype", dtype, "model_revision", "main", "model_sha", "",
                              "batch_size", "auto", "batch_sizes", "device", r->device_kind, "use_cache", "limit",
                              r->limit > 0 ? json_real((double)r->limit) : json_null(), "bootstrap_iters", 100000, "gen_kwargs", "random_seed", 0,
                              "numpy_seed", 1234, "torch_seed", 1234, "fewshot_seed", FEWSHOT_SEED));
}

/* [text, "id"], as lm-eval has it. */
static json_t *token_json(const Tokenizer *tokenizer, int32_t id)
{
    char number[16];
    Str text;

    if (id < 0 || !tokenizer_token(tokenizer, id, &text))
        return json_pack("[n, s]", "None");
    snprintf(number, sizeof number, "%d", id);
    return json_pack("[s%, s]", text.data, text.len, number);
}

static Status put_environment(json_t *root, const ScoreResult *r)
{
    const Tokenizer *t = r->tokenizer;
    const int32_t eos = tokenizer_eos(t);

    TRY(json_put(root, "git_hash", json_null()));
    TRY(json_put(root, "date", json_real(clock_epoch_s())));
    TRY(json_put(root, "pretty_env_info", json_sprintf("Lethe %s, %s", LETHE_VERSION, r->device_name)));
    TRY(json_put(root, "transformers_version", json_null()));
    TRY(json_put(root, "lm_eval_version", json_string(lm_eval_version)));
    TRY(json_put(root, "upper_git_hash", json_null()));
    TRY(json_put(root, "tokenizer_pad_token", token_json(t, tokenizer_pad(t))));
    TRY(json_put(root, "tokenizer_eos_token", token_json(t, eos)));
    TRY(json_put(root, "tokenizer_bos_token", token_json(t, tokenizer_bos(t))));
    TRY(json_put(root, "eot_token_id", eos >= 0 ? json_integer(eos) : json_null()));
    return json_put(root, "max_length", json_integer(r->max_length));
}

static Status put_model(json_t *root, const ScoreResult *r, const DigestHex *task_hash)
{
    static const char *const unused[] = {"system_instruction", "system_instruction_sha", "fewshot_as_multiturn", "chat_template", "chat_template_sha"};
    json_t *hashes;
    StrBuf text;
    Status st;

    TRY(put_object(root, "task_hashes", &hashes));
    for (size_t i = 0; i < r->n_task; i++)
        TRY(json_put(hashes, r->task[i].plan->task->name, json_string(task_hash[i].text)));
    TRY(json_put(root, "model_source", json_string("lethe")));
    TRY(json_put(root, "model_name", json_string(r->path)));
    strbuf_init(&text);
    label_sanitise(&text, str_of(r->path));
    TRY_GOTO(strbuf_status(&text), st, done);
    TRY_GOTO(json_put(root, "model_name_sanitized", json_from_str(strbuf_str(&text))), st, done);
    for (size_t i = 0; i < sizeof unused / sizeof *unused; i++)
        TRY_GOTO(json_put(root, unused[i], json_null()), st, done);
    strbuf_clear(&text);
    json_write_double(&text, r->seconds);
    TRY_GOTO(strbuf_status(&text), st, done);
    st = json_put(root, "total_evaluation_time_seconds", json_from_str(strbuf_str(&text)));
done:
    strbuf_release(&text);
    return st;
}

static Status put_own_task(json_t *own, const TaskResult *t)
{
    const TaskPlan *plan = t->plan;
    const DigestHex data = digest_hex(&plan->scored.digest), pool = digest_hex(&plan->pool.digest);
    json_t *intervals, *own_metrics, *task = json_pack("{s:s, s:s, s:s, s:s, s:s, s:[I, I], s:I}", "key", t->key.text, "profile", plan->profile.name, "split", plan->split, "bos",
                             bos_name(plan->profile.bos), "data_sha256", data.text, "items", (json_int_t)plan->first,
                             (json_int_t)(plan->first + plan->count - 1), "truncated_requests", (json_int_t)t->n_truncated);

    TRY(json_put(own, plan->task->name, task));
    if (plan->profile.shots > 0)
        TRY(json_put(task, "shot_data_sha256", json_string(pool.text)));
    TRY(put_object(task, "own_metrics", &own_metrics));
    for (int m = t->n_metric; m < t->n_all; m++)
        TRY(json_put(own_metrics, t->metric[m].metric, json_pack("{s:f, s:o}", "value", t->metric[m].value, "stderr", error_json(t->metric[m].stderr_mean))));
    TRY(put_object(task, "wilson_95", &intervals));
    for (int m = 0; m < t->n_all; m++)
        TRY(json_put(intervals, t->metric[m].metric, json_pack("[f, f]", t->metric[m].ci.low, t->metric[m].ci.high)));
    return LT_OK;
}

static Status put_own(json_t *root, const ScoreResult *r)
{
    const DigestHex checkpoint = digest_hex(&r->checkpoint);
    const Digest digest = tokenizer_digest(r->tokenizer);
    const DigestHex tokenizer = digest_hex(&digest);
    DigestHex identity;
    json_t *own, *own_tasks;

    TRY(results_identity(r, &identity));
    own = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "identity", identity.text, "version", LETHE_VERSION, "label", r->name->label,
                    "checkpoint_sha256", checkpoint.text, "tokenizer_sha256", tokenizer.text, "dtype", dtype_name(r->dtype), "device",
                    r->device_class);
    TRY(json_put(root, "lethe", own));
    TRY(result_put_adapter(own, r));
    TRY(put_object(own, "tasks", &own_tasks));
    for (size_t i = 0; i < r->n_task; i++)
        TRY(put_own_task(own_tasks, &r->task[i]));
    return LT_OK;
}

Status results_document(json_t **out, const ScoreResult *r, const DigestHex *task_hash)
{
    json_t *root = json_object();
    Status st;

    if (root == NULL)
        return FAIL(LT_E_NOMEM, "out of memory");
    TRY_GOTO(put_tasks(root, r), st, failed);
    TRY_GOTO(put_run(root, r), st, failed);
    TRY_GOTO(put_environment(root, r), st, failed);
    TRY_GOTO(put_model(root, r, task_hash), st, failed);
    TRY_GOTO(put_own(root, r), st, failed);
    *out = root;
    return LT_OK;
failed:
    json_decref(root);
    return st;
}
