#include "eval/score/table.h"

#include "core/file.h"
#include "core/tsv.h"
#include "core/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- results.tsv -------------------------------------------------------------------------------------------------------- */

static const char *const columns[] = {
    "label", "condition", "run", "path", "base", "method", "rank", "alpha", "targets", "lr", "seed", "step", "tokens", "epochs", "task", "profile",
    "shots", "template", "bos", "dtype", "device", "metric", "filter", "samples", "temperature", "value", "stderr", "ci_low", "ci_high", "n",
    "truncated", "unparsed", "timed_out", "errors", "key", "cast",
};
enum { N_COLUMN = sizeof columns / sizeof *columns };

/* What makes two rows the same row. */
static const char *const identity[] = {"label", "key", "metric", "filter"};

static Status set_text(Tsv *t, size_t row, const char *column, const char *value)
{
    return tsv_set(t, row, column, str_of(value));
}

static Status set_origin(Tsv *t, size_t row, const ScoreResult *r)
{
    for (int i = 0; i < ORIGIN_FIELDS; i++)
        TRY(set_text(t, row, origin_field[i], r->name->origin[i]));
    TRY(set_text(t, row, "label", r->name->label)); /* behind the loop: lethe.json may have named none */
    if (r->base != NULL)
        TRY(set_text(t, row, "base", r->base)); /* the one that was used */
    return set_text(t, row, "path", r->path);
}

/* "f32>bf16" where the stored type can hold what the computing one cannot. By the types, not the values, which a repeated command does not read. */
static Status set_cast(Tsv *t, size_t row, const ScoreResult *r)
{
    char cast[32] = "";

    if (r->dtype != LT_F32 && r->stored != r->dtype)
        snprintf(cast, sizeof cast, "%s>%s", dtype_name(r->stored), dtype_name(r->dtype));
    return set_text(t, row, "cast", cast);
}

static Status add_row(Tsv *t, const ScoreResult *r, const TaskResult *task, const MetricSummary *m)
{
    const TaskPlan *plan = task->plan;

    TRY(tsv_row(t));
    const size_t row = t->n_row - 1;
    TRY(set_origin(t, row, r));
    TRY(set_text(t, row, "task", plan->task->name));
    TRY(set_text(t, row, "profile", plan->profile.name));
    TRY(tsv_set_int(t, row, "shots", plan->profile.shots));
    TRY(set_text(t, row, "template", "none"));
    TRY(set_text(t, row, "bos", bos_name(plan->profile.bos)));
    TRY(set_text(t, row, "dtype", dtype_name(r->dtype)));
    TRY(set_text(t, row, "device", r->device_class));
    TRY(set_text(t, row, "metric", m->metric));
    TRY(set_text(t, row, "filter", "none"));
    TRY(tsv_set_double(t, row, "value", m->value));
    TRY(tsv_set_double(t, row, "stderr", m->stderr_mean));
    TRY(tsv_set_double(t, row, "ci_low", m->ci.low));
    TRY(tsv_set_double(t, row, "ci_high", m->ci.high));
    TRY(tsv_set_int(t, row, "n", (int64_t)m->n));
    TRY(tsv_set_int(t, row, "truncated", task->n_truncated));
    TRY(set_text(t, row, "key", task->key.text));
    return set_cast(t, row, r);
}

static bool same_cell(const Tsv *a, size_t row_a, const Tsv *b, size_t row_b, const char *column)
{
    const char *x = tsv_get(a, row_a, column), *y = tsv_get(b, row_b, column);
    return strcmp(x != NULL ? x : "", y != NULL ? y : "") == 0;
}

static bool same_row(const Tsv *a, size_t row_a, const Tsv *b, size_t row_b, const char *const *column, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!same_cell(a, row_a, b, row_b, column[i]))
            return false;
    return true;
}

/* SIZE_MAX if the table has no such row. */
static size_t find_row(const Tsv *t, const Tsv *other, size_t row)
{
    for (size_t i = 0; i < t->n_row; i++)
        if (same_row(t, i, other, row, identity, sizeof identity / sizeof *identity))
            return i;
    return SIZE_MAX;
}

static Status copy_row(Tsv *to, size_t row_to, const Tsv *from, size_t row_from)
{
    for (size_t c = 0; c < N_COLUMN; c++) {
        const char *cell = tsv_get(from, row_from, columns[c]);
        TRY(set_text(to, row_to, columns[c], cell != NULL ? cell : ""));
    }
    return LT_OK;
}

static bool has_column(const Tsv *t, const char *name)
{
    for (size_t c = 0; c < t->n_column; c++)
        if (strcmp(t->column[c], name) == 0)
            return true;
    return false;
}

/* Rows of `fresh` into `t`: over the row they replace, else behind the last. */
static Status merge_rows(Tsv *t, const Tsv *fresh, bool *changed)
{
    *changed = false;
    for (size_t i = 0; i < fresh->n_row; i++) {
        size_t row = find_row(t, fresh, i);
        if (row != SIZE_MAX && same_row(t, row, fresh, i, columns, N_COLUMN))
            continue;
        if (row == SIZE_MAX) {
            TRY(tsv_row(t));
            row = t->n_row - 1;
        }
        TRY(copy_row(t, row, fresh, i));
        *changed = true;
    }
    return LT_OK;
}

/* The table as it is. One that an earlier version wrote may lack columns: its rows move into one that has them. */
static Status read_table(Tsv *t, const char *path)
{
    Tsv old = {0};
    bool complete = true;
    Status st;

    TRY(tsv_read(&old, path));
    for (int c = 0; c < N_COLUMN; c++)
        complete = complete && has_column(&old, columns[c]);
    if (complete) {
        *t = old;
        return LT_OK;
    }
    TRY_GOTO(tsv_init(t, columns, N_COLUMN), st, done);
    for (size_t i = 0; i < old.n_row; i++) {
        TRY_GOTO(tsv_row(t), st, done);
        TRY_GOTO(copy_row(t, i, &old, i), st, done);
    }
done:
    tsv_release(&old);
    return st;
}

/* The table with the result's rows in it. tsv_release. */
static Status merged_table(Tsv *t, const char *path, const ScoreResult *r, bool *changed)
{
    Tsv fresh = {0};
    Status st;

    *t = (Tsv){0};
    TRY_GOTO(file_exists(path) ? read_table(t, path) : tsv_init(t, columns, N_COLUMN), st, done);
    TRY_GOTO(tsv_init(&fresh, columns, N_COLUMN), st, done);
    for (size_t i = 0; i < r->n_task; i++)
        for (int m = 0; m < r->task[i].n_all; m++)
            TRY_GOTO(add_row(&fresh, r, &r->task[i], &r->task[i].metric[m]), st, done);
    st = merge_rows(t, &fresh, changed);
done:
    tsv_release(&fresh);
    return st;
}

Status table_update(const char *path, const ScoreResult *r)
{
    bool changed = false;
    Tsv t;

    Status st = merged_table(&t, path, r, &changed);
    if (st == LT_OK && changed)
        st = tsv_write(&t, path);
    tsv_release(&t);
    return st;
}

Status table_is_current(const char *path, const ScoreResult *r, bool *current)
{
    bool changed = false;
    Tsv t;

    const Status st = merged_table(&t, path, r, &changed);
    *current = st == LT_OK && !changed;
    tsv_release(&t);
    return st;
}

/* ---- the console table -------------------------------------------------------------------------------------------------- */

enum { N_FIELD = 9, FIELD_BYTES = 64 };
typedef struct ConsoleRow {
    char cell[N_FIELD][FIELD_BYTES];
} ConsoleRow;

static const char *const heading[N_FIELD] = {"Tasks", "Version", "Filter", "n-shot", "Metric", "", "Value", "", "Stderr"};
static const bool is_number[N_FIELD] = {false, true, false, true, false, false, true, false, true};

/* Digits behind the point that x needs, at most four. */
static int decimals(double x)
{
    char text[FIELD_BYTES];

    if (isnan(x))
        return 0;
    snprintf(text, sizeof text, "%.4f", x);
    int n = 4;
    for (const char *end = text + strlen(text) - 1; n > 0 && *end == '0'; end--)
        n--;
    return n;
}

static void number_cell(char *cell, double x, int n_decimal)
{
    if (isnan(x))
        snprintf(cell, FIELD_BYTES, "N/A");
    else
        snprintf(cell, FIELD_BYTES, "%.*f", n_decimal, x);
}

static int by_task_name(const void *a, const void *b)
{
    return strcmp((*(const TaskResult *const *)a)->plan->task->name, (*(const TaskResult *const *)b)->plan->task->name);
}

/* Metrics stand in the order of their names, as lm-eval's table has them. */
static int next_metric(const TaskResult *t, const char *after)
{
    int next = -1;
    for (int m = 0; m < t->n_metric; m++)
        if ((after == NULL || strcmp(t->metric[m].metric, after) > 0) && (next < 0 || strcmp(t->metric[m].metric, t->metric[next].metric) < 0))
            next = m;
    return next;
}

static void fill_row(ConsoleRow *row, const TaskResult *t, const MetricSummary *m, bool first, int value_decimals, int error_decimals)
{
    const char *text[] = {first ? t->plan->task->name : "", "", "none", "", m->metric, "\xe2\x86\x91", "", "\xc2\xb1", ""};

    for (int f = 0; f < N_FIELD; f++)
        snprintf(row->cell[f], FIELD_BYTES, "%s", text[f]);
    if (first)
        snprintf(row->cell[1], FIELD_BYTES, "%g", strtod(t->plan->profile.version, NULL));
    snprintf(row->cell[3], FIELD_BYTES, "%d", t->plan->profile.shots);
    number_cell(row->cell[6], m->value, value_decimals);
    number_cell(row->cell[8], m->stderr_mean, error_decimals);
}

static void add_spaces(StrBuf *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        strbuf_add_char(out, ' ');
}

typedef enum Align { ALIGN_LEFT, ALIGN_RIGHT, ALIGN_CENTRE } Align;

static void add_cell(StrBuf *out, const char *text, size_t width, Align align)
{
    const size_t spare = width - utf8_count(str_of(text));
    const size_t before = align == ALIGN_LEFT ? 0 : align == ALIGN_RIGHT ? spare : spare / 2;

    add_spaces(out, before);
    strbuf_add_text(out, text);
    add_spaces(out, spare - before);
    strbuf_add_char(out, '|');
}

static void print_rows(StrBuf *out, const ConsoleRow *row, size_t n_row)
{
    size_t width[N_FIELD];

    for (int f = 0; f < N_FIELD; f++) {
        width[f] = strlen(heading[f]) > 3 ? strlen(heading[f]) : 3;
        for (size_t i = 0; i < n_row; i++) {
            const size_t chars = utf8_count(str_of(row[i].cell[f]));
            width[f] = chars > width[f] ? chars : width[f];
        }
    }
    strbuf_add_char(out, '|');
    for (int f = 0; f < N_FIELD; f++)
        add_cell(out, heading[f], width[f], ALIGN_CENTRE);
    strbuf_add_text(out, "\n|");
    for (int f = 0; f < N_FIELD; f++) {
        for (size_t i = 0; i + 1 < width[f]; i++)
            strbuf_add_char(out, '-');
        strbuf_add_text(out, is_number[f] ? ":|" : "-|");
    }
    for (size_t i = 0; i < n_row; i++) {
        strbuf_add_text(out, "\n|");
        for (int f = 0; f < N_FIELD; f++)
            add_cell(out, row[i].cell[f], width[f], is_number[f] ? ALIGN_RIGHT : ALIGN_LEFT);
    }
    strbuf_add_text(out, "\n\n");
}

Status table_console(StrBuf *out, const ScoreResult *r)
{
    const TaskResult **task = NULL;
    ConsoleRow *row = NULL;
    size_t n_row = 0;
    int value_decimals = 0, error_decimals = 0;
    Status st;

    TRY_GOTO(MEM_NEW(task, r->n_task), st, done);
    TRY_GOTO(MEM_NEW(row, r->n_task * RESULT_MAX_METRICS), st, done);
    for (size_t i = 0; i < r->n_task; i++) {
        task[i] = &r->task[i];
        for (int m = 0; m < task[i]->n_metric; m++) {
            const int v = decimals(task[i]->metric[m].value), e = decimals(task[i]->metric[m].stderr_mean);
            value_decimals = v > value_decimals ? v : value_decimals;
            error_decimals = e > error_decimals ? e : error_decimals;
        }
    }
    qsort(task, r->n_task, sizeof *task, by_task_name);
    for (size_t i = 0; i < r->n_task; i++) {
        const char *last = NULL;
        for (int m; (m = next_metric(task[i], last)) >= 0; last = task[i]->metric[m].metric)
            fill_row(&row[n_row++], task[i], &task[i]->metric[m], last == NULL, value_decimals, error_decimals);
    }
    strbuf_addf(out, "lethe (pretrained=%s%s%s,dtype=%s), device: %s, limit: ", r->base != NULL ? r->base : r->path,
                r->base != NULL ? ",peft=" : "", r->base != NULL ? r->path : "", dtype_name(r->dtype), r->device_class);
    if (r->limit > 0)
        strbuf_addf(out, "%lld\n", (long long)r->limit);
    else
        strbuf_add_text(out, "None\n");
    print_rows(out, row, n_row);
    st = strbuf_status(out);
done:
    mem_free(row);
    mem_free(task);
    return st;
}

/* ---- --json ------------------------------------------------------------------------------------------------------------- */

static json_t *number_json(double x)
{
    return isnan(x) ? json_null() : json_real(x);
}

static Status put_metrics(json_t *results, const TaskResult *t)
{
    json_t *metrics = json_object();

    TRY(json_put(results, t->plan->task->name, metrics));
    for (int i = 0; i < t->n_all; i++) {
        const MetricSummary *m = &t->metric[i];
        TRY(json_put(metrics, m->metric, json_pack("{s:f, s:o, s:f, s:f, s:I}", "value", m->value, "stderr", number_json(m->stderr_mean), "ci_low",
                                                   m->ci.low, "ci_high", m->ci.high, "n", (json_int_t)m->n)));
    }
    return LT_OK;
}

Status table_json(json_t **out, const ScoreResult *r)
{
    const DigestHex checkpoint = digest_hex(&r->checkpoint);
    json_t *root = json_pack("{s:s, s:s, s:s, s:s, s:s}", "label", r->name->label, "path", r->path, "dtype", dtype_name(r->dtype), "device",
                             r->device_class, "checkpoint_sha256", checkpoint.text);
    json_t *results = json_object();
    Status st;

    if (root == NULL) {
        json_decref(results);
        return FAIL(LT_E_NOMEM, "out of memory");
    }
    TRY_GOTO(json_put(root, "results", results), st, failed);
    TRY_GOTO(result_put_adapter(root, r), st, failed);
    for (size_t i = 0; i < r->n_task; i++)
        TRY_GOTO(put_metrics(results, &r->task[i]), st, failed);
    *out = root;
    return LT_OK;
failed:
    json_decref(root);
    return st;
}
