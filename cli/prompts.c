#include "cli/prompts.h"

#include "core/file.h"
#include "core/json.h"

#include <stdio.h>

static const size_t IDS_MAX_BYTES = (size_t)1 << 30;

void prompts_release(Prompts *p)
{
    ids_release(&p->ids);
    mem_free(p->end);
    *p = (Prompts){0};
}

const int32_t *prompts_at(const Prompts *p, size_t i, int32_t *n)
{
    const size_t begin = i > 0 ? p->end[i - 1] : 0;

    *n = (int32_t)(p->end[i] - begin);
    return p->ids.id + begin;
}

static Status end_prompt(Prompts *p, const char *what)
{
    const size_t begin = p->count > 0 ? p->end[p->count - 1] : 0;

    if (p->ids.count == begin)
        return FAIL(LT_E_INPUT, "%s: an empty prompt; a model needs at least one token to go on from", what);
    if (p->ids.count - begin > INT32_MAX)
        return FAIL(LT_E_INPUT, "%s: a prompt of %zu tokens", what, p->ids.count - begin);
    TRY(MEM_GROW(p->end, p->cap, p->count + 1));
    p->end[p->count++] = p->ids.count;
    return LT_OK;
}

Status prompts_add_text(Prompts *p, Encoder *e, Str text, const char *what)
{
    const Status st = encoder_encode(e, text, true, &p->ids);

    return st == LT_OK ? end_prompt(p, what) : status_wrap(st, "%s", what);
}

static Status read_row(Prompts *p, JsonAt row, const char *path)
{
    size_t n = 0;

    TRY(json_to_array(row, &n));
    for (size_t i = 0; i < n; i++) {
        int64_t id = 0;
        TRY(json_to_int(json_element(&row, i), 0, INT32_MAX, &id));
        TRY(ids_add(&p->ids, (int32_t)id));
    }
    return end_prompt(p, path);
}

Status prompts_read_ids(Prompts *p, const char *path)
{
    json_t *document = NULL;
    size_t n = 0;
    Status st;

    TRY(json_load_path(&document, path, IDS_MAX_BYTES));
    const JsonAt root = json_root(document, path, 0);
    TRY_GOTO(json_to_array(root, &n), st, done);
    for (size_t i = 0; i < n; i++)
        TRY_GOTO(read_row(p, json_element(&root, i), path), st, done);
done:
    json_decref(document);
    return st;
}

static Status read_line(Prompts *p, Encoder *e, Str text, const char *path, uint64_t number)
{
    json_t *document = NULL;
    char what[32];
    Str prompt;
    Status st;

    snprintf(what, sizeof what, "line %llu", (unsigned long long)number);
    TRY(json_parse(&document, text, path, number));
    const JsonAt line = json_root(document, path, number);
    TRY_GOTO(json_get_str(&line, "prompt", &prompt), st, done);
    st = prompts_add_text(p, e, prompt, what);
done:
    json_decref(document);
    return st;
}

Status prompts_read_texts(Prompts *p, Encoder *e, const char *path)
{
    LineReader *reader = NULL;
    bool more = true;
    Str line;
    Status st;

    TRY(lines_open(&reader, path));
    for (;;) {
        TRY_GOTO(lines_next(reader, &line, &more), st, done);
        if (!more)
            break;
        if (line.len > 0)
            TRY_GOTO(read_line(p, e, line, path, lines_number(reader)), st, done);
    }
done:
    lines_close(reader);
    return st;
}
