#include "eval/tasks/dataset.h"

#include "eval/tasks/unpack.h"

/* Far above any benchmark; keeps a compressed bomb from taking all memory. */
static const size_t max_content = (size_t)1 << 30;

/* Rows that one thread reads at a time, with an arena of their own. */
enum { CHUNK_ROWS = 128 };

typedef struct Row {
    Str line;
    uint64_t number; /* of the line; 0: the file is one array */
    json_t *value;   /* NULL: to be parsed from the line */
} Row;

typedef struct Reader {
    DataSet *set;
    Str content;
    JsonAt root; /* of an array */
    Row *row;
    size_t n_row, cap;
} Reader;

static bool is_blank(Str line)
{
    for (size_t i = 0; i < line.len; i++)
        if (line.data[i] != ' ' && line.data[i] != '\t' && line.data[i] != '\r')
            return false;
    return true;
}

static Status list_lines(Reader *r, Str content)
{
    uint64_t number = 0;

    for (size_t at = 0; at < content.len;) {
        const char *newline = memchr(content.data + at, '\n', content.len - at);
        const size_t end = newline ? (size_t)(newline - content.data) : content.len;
        const Str line = str_slice(content, at, end);
        at = end + 1;
        number++;
        if (is_blank(line))
            continue;
        TRY(MEM_GROW(r->row, r->cap, r->n_row + 1));
        r->row[r->n_row++] = (Row){.line = line, .number = number};
    }
    return LT_OK;
}

static Status list_elements(Reader *r, Str content)
{
    size_t count;

    TRY(json_parse(&r->set->rows, content, r->set->path, 0));
    r->root = json_root(r->set->rows, r->set->path, 0);
    TRY(json_to_array(r->root, &count));
    TRY(MEM_NEW(r->row, count));
    r->n_row = count;
    for (size_t i = 0; i < count; i++)
        r->row[i].value = json_array_get(r->set->rows, i);
    return LT_OK;
}

static Status read_row(const Reader *r, size_t i, Arena *text)
{
    const DataSet *set = r->set;
    Row *row = &r->row[i];
    Doc *doc = &set->doc[i];

    if (row->value == NULL)
        TRY(json_parse(&row->value, row->line, set->path, row->number));
    const JsonAt at = row->number > 0 ? json_root(row->value, set->path, row->number) : json_element(&r->root, i);
    TRY(json_to_object(at));
    doc->index = (int64_t)i;
    doc->row = row->value;
    return set->task->read(at, text, doc);
}

/* The digest and the chunks of rows have nothing to do with one another; the digest takes longest and comes first. */
static Status read_part(void *context, int64_t index, int thread)
{
    const Reader *r = context;

    (void)thread;
    if (index == 0)
        return sha256_of(r->content.data, r->content.len, &r->set->digest);
    const size_t begin = (size_t)(index - 1) * CHUNK_ROWS;
    const size_t end = begin + CHUNK_ROWS < r->n_row ? begin + CHUNK_ROWS : r->n_row;
    for (size_t i = begin; i < end; i++)
        TRY(read_row(r, i, &r->set->text[index - 1]));
    return LT_OK;
}

static Status read_parts(Reader *r, Pool *pool)
{
    DataSet *set = r->set;
    const int64_t n_part = 1 + ((int64_t)r->n_row + CHUNK_ROWS - 1) / CHUNK_ROWS;

    TRY(MEM_NEW(set->doc, r->n_row));
    TRY(MEM_NEW(set->text, (size_t)n_part - 1));
    set->n_text = (size_t)n_part - 1;
    for (size_t i = 0; i < set->n_text; i++)
        arena_init(&set->text[i]);
    if (pool != NULL)
        TRY(pool_run(pool, n_part, read_part, r));
    for (int64_t i = 0; i < n_part && pool == NULL; i++)
        TRY(read_part(r, i, 0));
    set->n_doc = r->n_row;
    return LT_OK;
}

/* The rows of a lines file become one array, as the others are from the start. */
static Status keep_rows(Reader *r)
{
    if (r->set->rows != NULL)
        return LT_OK;
    r->set->rows = json_array();
    if (r->set->rows == NULL)
        return FAIL(LT_E_NOMEM, "%s: no memory for its rows", r->set->path);
    for (size_t i = 0; i < r->n_row; i++) {
        json_t *value = r->row[i].value;
        r->row[i].value = NULL;
        TRY(json_push(r->set->rows, value));
    }
    return LT_OK;
}

static Status read_content(Reader *r, Pool *pool)
{
    Str content = r->content;

    if (str_starts(content, str_of("\xef\xbb\xbf")))
        content = str_slice(content, 3, content.len);
    /* By content, not by name: no row of a lines file begins with a bracket. */
    size_t first = 0;
    while (first < content.len && memchr(" \t\r\n", content.data[first], 4) != NULL)
        first++;
    if (first < content.len && content.data[first] == '[')
        TRY(list_elements(r, content));
    else
        TRY(list_lines(r, content));
    if (r->n_row == 0)
        return FAIL(LT_E_INPUT, "%s: expected rows of %s, found none", r->set->path, r->set->task->name);
    TRY(read_parts(r, pool));
    return keep_rows(r);
}

static void release_rows(Reader *r)
{
    for (size_t i = 0; i < r->n_row; i++)
        if (r->row[i].number > 0)
            json_decref(r->row[i].value);
    mem_free(r->row);
}

Status dataset_open_on(DataSet *set, const Task *task, const char *path, Pool *pool)
{
    DataSet made = {.task = task};
    Reader reader = {.set = &made};
    StrBuf content;
    strbuf_init(&content);
    Status st;
    made.path = mem_strdup(path);
    TRY_GOTO(made.path != NULL ? LT_OK : LT_E_NOMEM, st, done);
    TRY_GOTO(unpack_file(&content, path, max_content), st, done);
    reader.content = strbuf_str(&content);
    TRY_GOTO(read_content(&reader, pool), st, done);
    *set = made;
    made = (DataSet){0};
done:
    release_rows(&reader);
    dataset_close(&made);
    strbuf_release(&content);
    return st;
}

Status dataset_open(DataSet *set, const Task *task, const char *path)
{
    return dataset_open_on(set, task, path, NULL);
}

void dataset_close(DataSet *set)
{
    mem_free(set->path);
    mem_free(set->doc);
    json_decref(set->rows);
    for (size_t i = 0; i < set->n_text; i++)
        arena_release(&set->text[i]);
    mem_free(set->text);
    *set = (DataSet){0};
}

/* Published digests of unpacked upstream files with answers; that of the ARC file is a pin of third parties. */
static const struct {
    const Task *task;
    const char *split, *hex, *file;
} official[] = {
    {&task_gsm8k, "train", "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465", "train.jsonl"},
    {&task_gsm8k, "test", "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14", "test.jsonl"},
    {&task_hellaswag, "validation", "0aa3b88843990f3f10a97b9575c94d7b71fb2205240ba04ae4884d9e9c992588", "hellaswag_val.jsonl"},
    {&task_hellaswag, "train", "dae5e69249868cb9fe4e23ff925c60b66169564cfb7072d793cd7356a2b69f8d", "hellaswag_train.jsonl"},
    {&task_arc_challenge, "test", "9fa8ffb3e3a1f88cb302d53dd95aae81e39209ad9bcf974376b319d8fd35717c", "ARC-Challenge-Test.jsonl"},
};

const char *dataset_official(const DataSet *set)
{
    const DigestHex hex = digest_hex(&set->digest);
    for (size_t i = 0; i < sizeof official / sizeof *official; i++)
        if (official[i].task == set->task && strcmp(hex.text, official[i].hex) == 0)
            return official[i].file;
    return NULL;
}

bool dataset_is_pinned(const Task *task, const char *split)
{
    for (size_t i = 0; i < sizeof official / sizeof *official; i++)
        if (official[i].task == task && strcmp(official[i].split, split) == 0)
            return true;
    return false;
}
