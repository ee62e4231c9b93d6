/* samples_TASK_TIME.jsonl of every checkpoint of a panel, as one matrix of values. */
#include "analysis/curve_draws.h"

#include "core/file.h"
#include "core/json.h"

#include <math.h>

/* Values that growing lists hold: of one checkpoint. */
typedef struct Samples {
    double *value;
    int64_t *doc;
    size_t n, value_cap, doc_cap;
} Samples;

static void samples_release(Samples *s)
{
    mem_free(s->value);
    mem_free(s->doc);
    *s = (Samples){0};
}

/* The checkpoint's folder in the results: its label with what a file name cannot hold replaced, as `lethe score` and lm-eval name it. */
static Status folder_of(StrBuf *path, const char *results, const char *label)
{
    TRY(path_join(path, results, ""));
    for (const char *c = label; *c != '\0'; c++)
        if (strchr("<>:/|\\?*[]", *c) != NULL)
            strbuf_add_text(path, "__");
        else
            strbuf_add_char(path, *c);
    return strbuf_status(path);
}

/* The latest samples file of a task; the path is empty if there is none. Times in names sort as text. */
static Status find_samples(StrBuf *path, const char *folder, const char *task)
{
    FileList list = {0};
    const char *last = NULL;
    StrBuf prefix;
    Status st;

    strbuf_clear(path);
    if (!dir_exists(folder))
        return LT_OK;
    strbuf_init(&prefix);
    strbuf_addf(&prefix, "samples_%s_2", task); /* the year's first digit: "arc" is not "arc_challenge" */
    TRY_GOTO(strbuf_status(&prefix), st, done);
    TRY_GOTO(dir_list(folder, &list), st, done);
    for (size_t i = 0; i < list.count; i++)
        if (str_starts(str_of(list.name[i]), strbuf_str(&prefix)) && str_ends(str_of(list.name[i]), str_of(".jsonl")))
            last = list.name[i];
    if (last != NULL)
        st = path_join(path, folder, last);
done:
    file_list_release(&list);
    strbuf_release(&prefix);
    return st;
}

/* A file may hold a line a filter for each document: those of others are skipped. *usable: the line has the metric. */
static Status add_sample(Samples *s, bool *usable, Str line, const char *path, uint64_t number, const char *metric, const char *filter)
{
    json_t *document = NULL;
    int64_t doc = 0;
    Status st;

    TRY(json_parse(&document, line, path, number));
    const JsonAt root = json_root(document, path, number);
    const json_t *value = json_object_get(document, metric);
    Str of = str_of(filter);
    TRY_GOTO(json_opt_str(&root, "filter", &of), st, done);
    if (!str_is(of, filter))
        goto done;
    *usable = json_is_number(value);
    TRY_GOTO(json_get_int(&root, "doc_id", 0, INT64_MAX, &doc), st, done);
    TRY_GOTO(MEM_GROW(s->value, s->value_cap, s->n + 1), st, done);
    TRY_GOTO(MEM_GROW(s->doc, s->doc_cap, s->n + 1), st, done);
    s->value[s->n] = *usable ? json_number_value(value) : 0;
    s->doc[s->n++] = doc;
done:
    json_decref(document);
    return st;
}

static Status read_samples(Samples *s, bool *usable, const char *path, const char *metric, const char *filter)
{
    LineReader *lines;
    bool more = true;
    Status st;
    Str line;

    TRY(lines_open(&lines, path));
    *usable = true;
    while (*usable) {
        TRY_GOTO(lines_next(lines, &line, &more), st, done);
        if (!more)
            break;
        TRY_GOTO(add_sample(s, usable, line, path, lines_number(lines), metric, filter), st, done);
    }
done:
    lines_close(lines);
    return st;
}

/* Two means of the same values that were summed in another order: n roundings apart at most. */
static bool has_mean(const Samples *s, double mean)
{
    double sum = 0, size = 0;

    for (size_t i = 0; i < s->n; i++) {
        sum += s->value[i];
        size += fabs(s->value[i]);
    }
    return s->n > 0 && fabs(sum / (double)s->n - mean) <= 0x1p-52 * size;
}

static Status read_point(Samples *s, bool *usable, const CurveStudy *study, const CurvePoint *p, size_t score, const ScoreName *name, const char *results)
{
    const char *filter = tsv_get(&study->table, p->score[score].row, "filter");
    StrBuf folder, path;
    Status st;

    *usable = false;
    strbuf_init(&folder);
    strbuf_init(&path);
    TRY_GOTO(folder_of(&folder, results, p->label), st, done);
    TRY_GOTO(find_samples(&path, folder.data, name->task), st, done);
    if (path.len > 0)
        TRY_GOTO(read_samples(s, usable, path.data, name->metric, filter), st, done);
    *usable = *usable && has_mean(s, p->score[score].value); /* else the file is of other settings than the row */
done:
    strbuf_release(&folder);
    strbuf_release(&path);
    return st;
}

static bool same_documents(const Samples *a, const Samples *b)
{
    return a->n == b->n && memcmp(a->doc, b->doc, a->n * sizeof *a->doc) == 0;
}

static Status interleave(double **value, const Samples *of, size_t n_series)
{
    double *all;
    size_t n;

    if (!mem_mul(of[0].n, n_series, &n))
        return FAIL(LT_E_NOMEM, "%zu items of %zu checkpoints do not fit into memory", of[0].n, n_series);
    TRY(MEM_NEW(all, n));
    for (size_t k = 0; k < n_series; k++)
        for (size_t i = 0; i < of[k].n; i++)
            all[i * n_series + k] = of[k].value[i];
    *value = all;
    return LT_OK;
}

Status curve_items_read(double **value, size_t *n_item, bool *found, const CurveStudy *study, const CurvePanel *panel, size_t score, const char *folder)
{
    const size_t n_series = panel->n_point + 1;
    Samples *of;
    Status st = LT_OK;

    TRY(MEM_NEW(of, n_series));
    *found = true;
    for (size_t k = 0; k < n_series && *found; k++) {
        TRY_GOTO(read_point(&of[k], found, study, &panel->point[k], score, &panel->score[score], folder), st, done);
        *found = *found && same_documents(&of[0], &of[k]);
    }
    if (*found) {
        TRY_GOTO(interleave(value, of, n_series), st, done);
        *n_item = of[0].n;
    }
done:
    for (size_t k = 0; k < n_series; k++)
        samples_release(&of[k]);
    mem_free(of);
    return st;
}
