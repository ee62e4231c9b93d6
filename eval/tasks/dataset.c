#include "eval/tasks/dataset.h"

#include "eval/tasks/unpack.h"

/* Far above any benchmark; keeps a compressed bomb from taking all memory. */
static const size_t max_content = (size_t)1 << 30;

static Status add_doc(DataSet *set, JsonAt row)
{
    TRY(json_to_object(row));
    TRY(MEM_GROW(set->doc, set->cap, set->n_doc + 1));
    Doc *doc = &set->doc[set->n_doc];
    memset(doc, 0, sizeof *doc);
    doc->index = (int64_t)set->n_doc;
    doc->row = row.value;
    TRY(set->task->read(row, &set->text, doc));
    set->n_doc++;
    return LT_OK;
}

static bool is_blank(Str line)
{
    for (size_t i = 0; i < line.len; i++)
        if (line.data[i] != ' ' && line.data[i] != '\t' && line.data[i] != '\r')
            return false;
    return true;
}

static Status read_lines(DataSet *set, Str content)
{
    set->rows = json_array();
    if (set->rows == NULL)
        return FAIL(LT_E_NOMEM, "%s: no memory for its rows", set->path);
    uint64_t number = 0;
    for (size_t at = 0; at < content.len;) {
        const char *newline = memchr(content.data + at, '\n', content.len - at);
        const size_t end = newline ? (size_t)(newline - content.data) : content.len;
        const Str line = str_slice(content, at, end);
        at = end + 1;
        number++;
        if (is_blank(line))
            continue;
        json_t *row;
        TRY(json_parse(&row, line, set->path, number));
        TRY(json_push(set->rows, row));
        TRY(add_doc(set, json_root(row, set->path, number)));
    }
    return LT_OK;
}

static Status read_array(DataSet *set, Str content)
{
    TRY(json_parse(&set->rows, content, set->path, 0));
    const JsonAt root = json_root(set->rows, set->path, 0);
    size_t count;
    TRY(json_to_array(root, &count));
    for (size_t i = 0; i < count; i++)
        TRY(add_doc(set, json_element(&root, i)));
    return LT_OK;
}

static Status read_content(DataSet *set, Str content)
{
    TRY(sha256_of(content.data, content.len, &set->digest));
    if (str_starts(content, str_of("\xef\xbb\xbf")))
        content = str_slice(content, 3, content.len);
    /* By content, not by name: no row of a lines file begins with a bracket. */
    size_t first = 0;
    while (first < content.len && memchr(" \t\r\n", content.data[first], 4) != NULL)
        first++;
    if (first < content.len && content.data[first] == '[')
        TRY(read_array(set, content));
    else
        TRY(read_lines(set, content));
    if (set->n_doc == 0)
        return FAIL(LT_E_INPUT, "%s: expected rows of %s, found none", set->path, set->task->name);
    return LT_OK;
}

Status dataset_open(DataSet *set, const Task *task, const char *path)
{
    DataSet made = {.task = task};
    StrBuf content;
    arena_init(&made.text);
    strbuf_init(&content);
    Status st;
    made.path = mem_strdup(path);
    TRY_GOTO(made.path != NULL ? LT_OK : LT_E_NOMEM, st, done);
    TRY_GOTO(unpack_file(&content, path, max_content), st, done);
    TRY_GOTO(read_content(&made, strbuf_str(&content)), st, done);
    *set = made;
    made = (DataSet){0};
done:
    dataset_close(&made);
    strbuf_release(&content);
    return st;
}

void dataset_close(DataSet *set)
{
    mem_free(set->path);
    mem_free(set->doc);
    json_decref(set->rows);
    arena_release(&set->text);
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
