#include "analysis/run_record.h"

#include "core/appendlog.h"
#include "core/json.h"

#include <math.h>

static int64_t n_values(const RunRecord *r) { return r->m < r->n ? r->m : r->n; }

/* ---- as text -------------------------------------------------------------------------------------------------------------- */

static void add_number(StrBuf *out, const char *name, double x)
{
    strbuf_addf(out, ", \"%s\": ", name);
    json_write_double(out, x);
}

static void add_real(StrBuf *out, double x)
{
    strbuf_add_text(out, ",");
    if (!isfinite(x))
        strbuf_add_text(out, "null");
    else
        json_write_double(out, x);
}

static void add_subspaces(StrBuf *out, const SubspaceRows *rows)
{
    for (size_t i = 0; i < rows->count; i++) {
        const SubspaceRow *row = &rows->row[i];

        strbuf_addf(out, "%s[\"%s\",\"%s\",%lld,%lld", i == 0 ? ", \"subspaces\": [" : ",", row->quantity, row->side, (long long)row->k, (long long)row->index);
        add_real(out, row->epsilon);
        add_real(out, row->value);
        add_real(out, row->chance);
        strbuf_add_char(out, ']');
    }
    strbuf_add_char(out, ']');
}

Status run_record_write(StrBuf *out, const char *key, const char *name, const RunRecord *r)
{
    const DeltaFacts *f = &r->facts;

    strbuf_addf(out, "{\"spectrum\": \"%s\", \"name\": ", key);
    json_write_str(out, str_of(name), false);
    strbuf_addf(out, ", \"m\": %lld, \"n\": %lld, \"dtype\": \"%s\", \"base_dtype\": \"%s\", \"cast\": \"%s\"", (long long)r->m, (long long)r->n,
                dtype_name(f->dtype), dtype_name(f->base_dtype), delta_cast_name(f->cast));
    add_number(out, "zero_share", f->zero_share);
    add_number(out, "noise", f->noise);
    add_number(out, "base_fro", f->base_fro);
    strbuf_add_text(out, ", \"sigma\": [");
    for (int64_t i = 0; i < n_values(r); i++) {
        strbuf_add_text(out, i > 0 ? "," : "");
        json_write_double(out, r->sigma[i]);
    }
    strbuf_add_text(out, "]");
    if (r->subspaces.count > 0)
        add_subspaces(out, &r->subspaces);
    strbuf_add_char(out, '}');
    return strbuf_status(out);
}

/* ---- reading -------------------------------------------------------------------------------------------------------------- */

static Status get_double(const JsonAt *root, const char *key, double *out) { return json_to_double(json_member(root, key), out); }

static Status get_dtype(const JsonAt *root, const char *key, DType *out)
{
    static const DType known[] = {LT_F32, LT_BF16, LT_F16, LT_F64};
    Str text;

    TRY(json_get_str(root, key, &text));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_is(text, dtype_name(known[i]))) {
            *out = known[i];
            return LT_OK;
        }
    return json_expected(json_member(root, key), "a type of weights");
}

static Status get_cast(const JsonAt *root, DeltaCast *out)
{
    Str text;

    TRY(json_get_str(root, "cast", &text));
    for (int c = DELTA_CAST_NONE; c <= DELTA_CAST_F16; c++)
        if (str_is(text, delta_cast_name((DeltaCast)c))) {
            *out = (DeltaCast)c;
            return LT_OK;
        }
    return json_expected(json_member(root, "cast"), "none, bf16 or f16");
}

static Status get_sigma(const JsonAt *root, RunRecord *r)
{
    const JsonAt list = json_member(root, "sigma");
    size_t n = 0;

    TRY(json_to_array(list, &n));
    if ((int64_t)n != n_values(r))
        return json_fail(list, "%lld values expected, %zu found", (long long)n_values(r), n);
    TRY(MEM_NEW(r->sigma, n));
    for (size_t i = 0; i < n; i++)
        TRY(json_to_double(json_element(&list, i), &r->sigma[i]));
    return LT_OK;
}

static Status get_real(const JsonAt *list, size_t i, double *out)
{
    const JsonAt at = json_element(list, i);

    *out = NAN;
    return json_here(at) ? json_to_double(at, out) : LT_OK;
}

/* Texts are the document's. */
static Status get_subspace(const JsonAt *list, SubspaceRow *row)
{
    Str quantity, side;
    size_t n = 0;

    TRY(json_to_array(*list, &n));
    if (n != 7)
        return json_fail(*list, "7 values expected, %zu found", n);
    TRY(json_to_str(json_element(list, 0), &quantity));
    TRY(json_to_str(json_element(list, 1), &side));
    row->quantity = quantity.data;
    row->side = side.data;
    TRY(json_to_int(json_element(list, 2), 0, INT32_MAX, &row->k));
    TRY(json_to_int(json_element(list, 3), 0, INT32_MAX, &row->index));
    TRY(get_real(list, 4, &row->epsilon));
    TRY(get_real(list, 5, &row->value));
    return get_real(list, 6, &row->chance);
}

static Status get_subspaces(const JsonAt *root, SubspaceRows *rows)
{
    const JsonAt list = json_member(root, "subspaces");
    size_t n = 0;

    if (!json_here(list))
        return LT_OK;
    TRY(json_to_array(list, &n));
    TRY(MEM_GROW(rows->row, rows->cap, n));
    for (size_t i = 0; i < n; i++) {
        const JsonAt at = json_element(&list, i);
        TRY(get_subspace(&at, &rows->row[i]));
        rows->count++;
    }
    return LT_OK;
}

static Status parse_record(const JsonAt *root, RunRecord *r)
{
    TRY(json_get_int(root, "m", 1, INT32_MAX, &r->m));
    TRY(json_get_int(root, "n", 1, INT32_MAX, &r->n));
    TRY(get_dtype(root, "dtype", &r->facts.dtype));
    TRY(get_dtype(root, "base_dtype", &r->facts.base_dtype));
    TRY(get_cast(root, &r->facts.cast));
    TRY(get_double(root, "zero_share", &r->facts.zero_share));
    TRY(get_double(root, "noise", &r->facts.noise));
    TRY(get_double(root, "base_fro", &r->facts.base_fro));
    TRY(get_sigma(root, r));
    return get_subspaces(root, &r->subspaces);
}

static Status visit_record(void *context, Str payload, const char *path)
{
    RunRecords *records = context;
    json_t *document = NULL;
    RunRecord r = {0};
    Digest unused;
    Status st;
    Str key;

    TRY(json_parse(&document, payload, path, 0));
    const JsonAt root = json_root(document, path, 0);
    TRY_GOTO(json_to_object(root), st, done);
    if (!json_here(json_member(&root, "spectrum"))) /* a log may hold records of other kinds */
        goto done;
    TRY_GOTO(json_get_str(&root, "spectrum", &key), st, done);
    if (!digest_from_hex(key, &unused)) {
        st = json_expected(json_member(&root, "spectrum"), "64 hex digits");
        goto done;
    }
    TRY_GOTO(parse_record(&root, &r), st, done);
    st = run_records_add(records, key.data, &r);
    if (st != LT_OK)
        st = status_wrap(st, "%s", path);
done:
    subspace_rows_release(&r.subspaces);
    mem_free(r.sigma);
    json_decref(document);
    return st;
}

/* Logs only grow: their sizes tell whether there is something new. */
static Status log_bytes(const char *folder, const char *own, uint64_t *bytes)
{
    FileList list = {0};
    StrBuf path;
    FileId id;
    Status st;

    *bytes = 0;
    if (!dir_exists(folder))
        return LT_OK;
    TRY(dir_list(folder, &list));
    strbuf_init(&path);
    st = LT_OK;
    for (size_t i = 0; i < list.count; i++) {
        if (!str_ends(str_of(list.name[i]), str_of(".log")))
            continue;
        TRY_GOTO(path_join(&path, folder, list.name[i]), st, done);
        if (own != NULL && strcmp(path.data, own) == 0)
            continue;
        TRY_GOTO(file_id(path.data, &id), st, done);
        *bytes += id.size;
    }
done:
    strbuf_release(&path);
    file_list_release(&list);
    return st;
}

Status run_records_refresh(RunRecords *records, const char *log_folder, const char *own)
{
    AppendLogCount count = {0};
    uint64_t bytes;

    TRY(log_bytes(log_folder, own, &bytes));
    if (bytes == records->bytes)
        return LT_OK;
    TRY(appendlog_read_folder(log_folder, visit_record, records, &count));
    records->damaged = count.damaged;
    records->bytes = bytes;
    return LT_OK;
}

/* ---- the store ------------------------------------------------------------------------------------------------------------ */

void run_records_init(RunRecords *records)
{
    *records = (RunRecords){0};
    map_init(&records->index);
    arena_init(&records->text);
}

static void record_release(RunRecord *r)
{
    subspace_rows_release(&r->subspaces);
    mem_free(r->sigma);
}

void run_records_release(RunRecords *records)
{
    for (size_t i = 0; i < records->count; i++)
        record_release(&records->record[i]);
    arena_release(&records->text);
    mem_free(records->record);
    map_release(&records->index);
    *records = (RunRecords){0};
}

static bool same(double a, double b) { return memcmp(&a, &b, sizeof a) == 0 || (!isfinite(a) && !isfinite(b)); }

static bool same_subspaces(const SubspaceRows *a, const SubspaceRows *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->row[i].quantity, b->row[i].quantity) != 0 || a->row[i].k != b->row[i].k || a->row[i].index != b->row[i].index ||
            !same(a->row[i].value, b->row[i].value))
            return false;
    return true;
}

static bool same_record(const RunRecord *a, const RunRecord *b)
{
    const DeltaFacts *f = &a->facts, *g = &b->facts;

    return a->m == b->m && a->n == b->n && f->dtype == g->dtype && f->base_dtype == g->base_dtype && f->cast == g->cast &&
           same(f->zero_share, g->zero_share) && same(f->noise, g->noise) && same(f->base_fro, g->base_fro) &&
           memcmp(a->sigma, b->sigma, (size_t)n_values(a) * sizeof *a->sigma) == 0 && same_subspaces(&a->subspaces, &b->subspaces);
}

/* Everything the record points to becomes the store's. */
static Status copy_parts(RunRecords *records, RunRecord *copy, const RunRecord *r)
{
    const size_t n = r->subspaces.count;

    copy->sigma = NULL;
    copy->subspaces = (SubspaceRows){0};
    TRY(MEM_NEW(copy->sigma, (size_t)n_values(r)));
    memcpy(copy->sigma, r->sigma, (size_t)n_values(r) * sizeof *r->sigma);
    TRY(MEM_GROW(copy->subspaces.row, copy->subspaces.cap, n));
    for (size_t i = 0; i < n; i++) {
        SubspaceRow *row = &copy->subspaces.row[i];

        *row = r->subspaces.row[i];
        row->quantity = arena_strndup(&records->text, row->quantity, strlen(row->quantity));
        row->side = arena_strndup(&records->text, row->side, strlen(row->side));
        if (row->quantity == NULL || row->side == NULL)
            return LT_E_NOMEM;
    }
    copy->subspaces.count = n;
    return LT_OK;
}

Status run_records_add(RunRecords *records, const char *key, const RunRecord *r)
{
    const RunRecord *old = run_records_find(records, key);
    RunRecord copy = *r;
    Status st;

    if (old != NULL && same_record(old, r))
        return LT_OK;
    if (old != NULL)
        return FAIL(LT_E_FAIL, "two records of matrix %.16s differ: the same work gave two results (largest singular values %.17g and %.17g), so none of them"
                    " can be trusted (run again with --fresh into an empty folder)", key, old->sigma[0], r->sigma[0]);
    TRY(MEM_GROW(records->record, records->cap, records->count + 1));
    st = copy_parts(records, &copy, r);
    if (st == LT_OK)
        st = map_put(&records->index, str_of(key), (int64_t)records->count, NULL);
    if (st != LT_OK) {
        record_release(&copy);
        return st;
    }
    records->record[records->count++] = copy;
    return LT_OK;
}

const RunRecord *run_records_find(const RunRecords *records, const char *key)
{
    int64_t at;

    return map_get(&records->index, str_of(key), &at) ? &records->record[at] : NULL;
}
