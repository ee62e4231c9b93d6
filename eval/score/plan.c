#include "eval/score/plan.h"

#include <errno.h>
#include <stdlib.h>

const char *task_setting(const TaskSettings *s, const char *task)
{
    const char *for_all = NULL;

    for (size_t i = s->count; i-- > 0;) { /* the last one given wins */
        if (s->item[i].task == NULL)
            for_all = for_all != NULL ? for_all : s->item[i].value;
        else if (strcmp(s->item[i].task, task) == 0)
            return s->item[i].value;
    }
    return for_all;
}

/* A setting for a task that is not scored is a slip of the pen that would go unnoticed. */
static Status check_settings(const char *option, const TaskSettings *s, const ScorePlan *plan)
{
    for (size_t i = 0; i < s->count; i++) {
        bool known = s->item[i].task == NULL;
        for (size_t t = 0; t < plan->n_task && !known; t++) {
            const char *name = plan->task[t].task->name;
            const size_t len = strlen(name);
            known = strncmp(s->item[i].task, name, len) == 0 && (s->item[i].task[len] == '\0' || s->item[i].task[len] == '.');
        }
        if (!known)
            return FAIL(LT_E_USAGE, "--%s: '%s' is not among the tasks of this command", option, s->item[i].task);
    }
    return LT_OK;
}

static Status parse_whole(const char *text, int64_t min, int64_t max, int64_t *out)
{
    char *end;

    errno = 0;
    const long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value < min || value > max)
        return LT_E_USAGE;
    *out = value;
    return LT_OK;
}

static Status resolve_rules(TaskPlan *t, const ScoreOptions *options)
{
    const char *profile = task_setting(&options->profile, t->task->name);
    const char *shots = task_setting(&options->shots, t->task->name);
    const char *split = task_setting(&options->split, t->task->name);
    int64_t n_shot;

    TRY(profile_resolve(&t->profile, profile != NULL ? profile : "lm-eval", t->task));
    if (shots != NULL) {
        if (parse_whole(shots, 0, 1000, &n_shot) != LT_OK)
            return FAIL(LT_E_USAGE, "--shots: '%s' for %s, a number from 0 to 1000 expected", shots, t->task->name);
        t->profile.shots = (int)n_shot;
    }
    if (options->bos != BOS_AUTO)
        t->profile.bos = options->bos;
    t->split = split != NULL ? split : t->task->score_split;
    return LT_OK;
}

static Status open_split(DataSet *set, const TaskPlan *t, const char *split, const char *file, const char *data_folder, Pool *pool)
{
    StrBuf path;
    Status st;

    strbuf_init(&path);
    TRY_GOTO(dataset_find(&path, t->task, split, data_folder, file), st, done);
    st = dataset_open_on(set, t->task, path.data, pool);
done:
    strbuf_release(&path);
    return st;
}

static Status open_data(TaskPlan *t, const ScoreOptions *options, Pool *pool)
{
    const TaskSettings *files = &options->data_file;
    char pool_name[96];

    snprintf(pool_name, sizeof pool_name, "%s.%s", t->task->name, t->task->shot_split);
    TRY(open_split(&t->scored, t, t->split, task_setting(files, t->task->name), options->data, pool));
    if (t->profile.shots > 0)
        TRY(open_split(&t->pool, t, t->task->shot_split, task_setting(files, pool_name), options->data, pool));
    /* Drawn for every row, whatever is scored: the shots of a row depend on all draws before it. */
    return shots_draw(&t->shots, &t->scored, &t->pool, t->profile.shots, t->profile.draws_one_more, FEWSHOT_SEED);
}

static Status select_items(TaskPlan *t, const ScoreOptions *options)
{
    const char *items = task_setting(&options->items, t->task->name);
    const int64_t n_doc = (int64_t)t->scored.n_doc;

    t->first = 0;
    t->count = n_doc;
    if (items != NULL) {
        char *end;
        errno = 0;
        const long long first = strtoll(items, &end, 10);
        int64_t last = first;
        const bool begun = end != items && errno == 0 && (*end == '\0' || *end == '-');
        if (!begun || (*end == '-' && parse_whole(end + 1, 0, INT64_MAX, &last) != LT_OK) || first < 0 || last < first)
            return FAIL(LT_E_USAGE, "--items: '%s' for %s, FIRST-LAST expected", items, t->task->name);
        if (last >= n_doc)
            return FAIL(LT_E_USAGE, "--items: '%s' for %s, which has documents 0 to %lld", items, t->task->name, (long long)n_doc - 1);
        t->first = first;
        t->count = last - first + 1;
    }
    if (options->limit > 0 && options->limit < t->count)
        t->count = options->limit;
    return LT_OK;
}

static Status find_task(const Task **out, Str name, const ScorePlan *plan)
{
    TRY(task_get(out, name));
    if ((*out)->kind != TASK_CHOICE)
        return FAIL(LT_E_UNSUPPORTED, "task '%s' needs generated text, which is not available yet", (*out)->name);
    for (size_t i = 0; i < plan->n_task; i++)
        if (plan->task[i].task == *out)
            return FAIL(LT_E_USAGE, "task '%s' is given twice", (*out)->name);
    return LT_OK;
}

static Status list_tasks(ScorePlan *plan, const char *list)
{
    size_t cap = 0;
    const Str all = str_of(list != NULL ? list : "");

    for (size_t from = 0; from < all.len;) {
        const size_t comma = str_find(all, str_of(","), from);
        const size_t to = comma == SIZE_MAX ? all.len : comma;
        const Task *task;
        TRY(find_task(&task, str_slice(all, from, to), plan));
        TRY(MEM_GROW(plan->task, cap, plan->n_task + 1));
        plan->task[plan->n_task++] = (TaskPlan){.task = task};
        from = to + 1;
    }
    return plan->n_task > 0 ? LT_OK : FAIL(LT_E_USAGE, "no tasks given; --tasks %s, for example", tasks[0]->name);
}

Status plan_make(ScorePlan *plan, const ScoreOptions *options, Pool *pool)
{
    Status st;

    *plan = (ScorePlan){0};
    TRY_GOTO(list_tasks(plan, options->tasks), st, failed);
    TRY_GOTO(check_settings("data", &options->data_file, plan), st, failed);
    TRY_GOTO(check_settings("shots", &options->shots, plan), st, failed);
    TRY_GOTO(check_settings("split", &options->split, plan), st, failed);
    TRY_GOTO(check_settings("items", &options->items, plan), st, failed);
    TRY_GOTO(check_settings("profile", &options->profile, plan), st, failed);
    for (size_t i = 0; i < plan->n_task; i++)
        TRY_GOTO(resolve_rules(&plan->task[i], options), st, failed);
    for (size_t i = 0; i < plan->n_task; i++) {
        TRY_GOTO(open_data(&plan->task[i], options, pool), st, failed);
        TRY_GOTO(select_items(&plan->task[i], options), st, failed);
    }
    return LT_OK;
failed:
    plan_release(plan);
    return st;
}

void plan_release(ScorePlan *plan)
{
    for (size_t i = 0; i < plan->n_task; i++) {
        TaskPlan *t = &plan->task[i];
        shots_release(&t->shots);
        dataset_close(&t->pool);
        dataset_close(&t->scored);
    }
    mem_free(plan->task);
    *plan = (ScorePlan){0};
}

Status plan_prompt(StrBuf *out, const TaskPlan *t, int64_t doc, int which)
{
    return prompt_build(out, &t->scored.doc[doc], which, &t->pool, &t->shots);
}

static Status show_one(const TaskPlan *t, int64_t index, StrBuf *prompt, FILE *to)
{
    const Doc *doc = &t->scored.doc[index];
    int shown = -1;

    fprintf(to, "===== %s, document %lld, %d shots, gold %d =====\n", t->task->name, (long long)index, t->profile.shots, doc->gold);
    for (int i = 0; i < doc->n_choice; i++) {
        const int which = plan_context_of(doc, i);
        if (which != shown) {
            strbuf_clear(prompt);
            TRY(plan_prompt(prompt, t, index, which));
            fprintf(to, STR_FORMAT "\n", STR_ARG(strbuf_str(prompt)));
            shown = which;
        }
        /* With one continuation for all contexts, every choice repeats it. */
        fprintf(to, "----- choice %d -----|" STR_FORMAT "|\n", i, STR_ARG(doc->continuation[i]));
    }
    return LT_OK;
}

Status plan_show(const ScorePlan *plan, int k, FILE *to)
{
    StrBuf prompt;
    Status st = LT_OK;

    strbuf_init(&prompt);
    for (size_t i = 0; i < plan->n_task; i++)
        for (int64_t d = 0; d < plan->task[i].count && d < k; d++)
            TRY_GOTO(show_one(&plan->task[i], plan->task[i].first + d, &prompt, to), st, done);
done:
    strbuf_release(&prompt);
    return st;
}
