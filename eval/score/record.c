#include "eval/score/record.h"

#include "core/appendlog.h"

Status record_write(StrBuf *out, const char *key, const char *task, const ScoreRecord *r)
{
    strbuf_add_text(out, "{\"key\": ");
    json_write_str(out, str_of(key), false);
    strbuf_add_text(out, ", \"task\": ");
    json_write_str(out, str_of(task), false);
    strbuf_addf(out, ", \"doc_id\": %lld, \"loglik\": [", (long long)r->doc_id);
    for (int i = 0; i < r->n_choice; i++) {
        strbuf_add_text(out, i > 0 ? ", " : "");
        json_write_double(out, r->loglik[i]);
    }
    strbuf_add_text(out, "], \"greedy\": [");
    for (int i = 0; i < r->n_choice; i++)
        strbuf_addf(out, "%s%s", i > 0 ? ", " : "", r->greedy[i] ? "true" : "false");
    strbuf_addf(out, "], \"tokens\": %d, \"truncated\": %d}", r->tokens, r->truncated);
    return strbuf_status(out);
}

static Status parse_choices(const JsonAt *root, ScoreRecord *r)
{
    const JsonAt loglik = json_member(root, "loglik"), greedy = json_member(root, "greedy");
    size_t n = 0, n_greedy = 0;

    TRY(json_to_array(loglik, &n));
    TRY(json_to_array(greedy, &n_greedy));
    if (n == 0 || n > TASK_MAX_CHOICES || n_greedy != n)
        return json_fail(*root, "%zu log-likelihoods and %zu greedy flags, 1 to %d of both expected", n, n_greedy, TASK_MAX_CHOICES);
    r->n_choice = (int)n;
    for (size_t i = 0; i < n; i++) {
        TRY(json_to_double(json_element(&loglik, i), &r->loglik[i]));
        TRY(json_to_bool(json_element(&greedy, i), &r->greedy[i]));
    }
    return LT_OK;
}

static Status parse_record(const JsonAt *root, Str *key, ScoreRecord *r)
{
    int64_t tokens = 0, truncated = 0;

    TRY(json_get_str(root, "key", key));
    if (memchr(key->data, '\0', key->len) != NULL)
        return json_fail(*root, "a NUL in the key");
    TRY(json_get_int(root, "doc_id", 0, INT64_MAX, &r->doc_id));
    TRY(parse_choices(root, r));
    TRY(json_opt_int(root, "tokens", 0, INT32_MAX, &tokens));
    TRY(json_opt_int(root, "truncated", 0, INT32_MAX, &truncated));
    r->tokens = (int32_t)tokens;
    r->truncated = (int32_t)truncated;
    return LT_OK;
}

static Status visit_record(void *context, Str payload, const char *path)
{
    RecordStore *store = context;
    json_t *document = NULL;
    ScoreRecord r = {0};
    Str key;
    Status st;

    TRY(json_parse(&document, payload, path, 0));
    const JsonAt root = json_root(document, path, 0);
    TRY_GOTO(json_to_object(root), st, done);
    /* A log may hold records of other kinds; those have no log-likelihoods. */
    if (!json_here(json_member(&root, "loglik")))
        goto done;
    TRY_GOTO(parse_record(&root, &key, &r), st, done);
    st = records_add(store, key.data, &r);
    if (st != LT_OK)
        st = status_wrap(st, "%s", path);
done:
    json_decref(document);
    return st;
}

Status records_load(RecordStore *store, const char *log_folder)
{
    AppendLogCount count = {0};

    *store = (RecordStore){0};
    map_init(&store->index);
    const Status st = appendlog_read_folder(log_folder, visit_record, store, &count);
    if (st != LT_OK) {
        records_release(store);
        return st;
    }
    store->damaged = count.damaged;
    return LT_OK;
}

void records_release(RecordStore *store)
{
    map_release(&store->index);
    mem_free(store->record);
    *store = (RecordStore){0};
}

/* The way to a record in the index. Room for a SHA-256 in hex and an int64; longer keys are cut, and no key of ours is. */
typedef struct IndexKey {
    char text[128];
} IndexKey;

static Str index_key(IndexKey *k, const char *key, int64_t doc_id)
{
    const int n = snprintf(k->text, sizeof k->text, "%lld/%s", (long long)doc_id, key);
    return (Str){k->text, n < (int)sizeof k->text ? (size_t)n : sizeof k->text - 1};
}

static bool same_answer(const ScoreRecord *a, const ScoreRecord *b, int *choice)
{
    *choice = 0;
    if (a->n_choice != b->n_choice)
        return false;
    for (int i = 0; i < a->n_choice; i++)
        if (a->loglik[i] != b->loglik[i] || a->greedy[i] != b->greedy[i]) {
            *choice = i;
            return false;
        }
    return true;
}

Status records_add(RecordStore *store, const char *key, const ScoreRecord *r)
{
    IndexKey buffer;
    const Str at = index_key(&buffer, key, r->doc_id);
    int64_t index;
    int choice;

    if (map_get(&store->index, at, &index)) {
        const ScoreRecord *old = &store->record[index];
        if (same_answer(old, r, &choice))
            return LT_OK;
        return FAIL(LT_E_FAIL, "two records of item %lld under key %.16s differ: choice %d has %.17g and %.17g; the same work gave two results,"
                    " so none of them can be trusted (score again with --fresh into an empty folder)",
                    (long long)r->doc_id, key, choice, old->loglik[choice], r->loglik[choice]);
    }
    TRY(MEM_GROW(store->record, store->cap, store->count + 1));
    TRY(map_put(&store->index, at, (int64_t)store->count, NULL));
    store->record[store->count++] = *r;
    return LT_OK;
}

const ScoreRecord *records_find(const RecordStore *store, const char *key, int64_t doc_id)
{
    IndexKey buffer;
    int64_t index;
    return map_get(&store->index, index_key(&buffer, key, doc_id), &index) ? &store->record[index] : NULL;
}
