#include "eval/score/label.h"

#include "core/file.h"
#include "core/json.h"

#include <stdlib.h>

const char *const origin_field[ORIGIN_FIELDS] = {"condition", "run",  "base", "method", "rank",   "alpha",  "targets",
                                                 "lr",        "seed", "step", "tokens", "epochs", "template", "label"};
enum { ORIGIN_LABEL = ORIGIN_FIELDS - 1, LETHE_JSON_MAX = 1 << 20 };

void label_sanitise(StrBuf *out, Str label)
{
    for (size_t i = 0; i < label.len; i++) {
        if (memchr("<>:/|\\?*[]", label.data[i], 10) != NULL)
            strbuf_add_text(out, "__");
        else
            strbuf_add_char(out, label.data[i]);
    }
}

/* The last n components of a path without trailing slashes. */
static Str tail_of(Str path, size_t n)
{
    size_t at = path.len;
    while (at > 0) {
        if (path.data[at - 1] == '/' && --n == 0)
            break;
        at--;
    }
    return str_slice(path, at, path.len);
}

static Str without_slashes(const char *path)
{
    Str s = str_of(path);
    while (s.len > 1 && s.data[s.len - 1] == '/')
        s.len--;
    return s;
}

static Str shortest_tail(const Str *path, size_t n, size_t mine)
{
    for (size_t parts = 1;; parts++) {
        const Str tail = tail_of(path[mine], parts);
        bool alone = true;
        for (size_t i = 0; i < n && alone; i++)
            alone = i == mine || !str_equal(tail_of(path[i], parts), tail);
        if (alone || tail.len == path[mine].len)
            return tail;
    }
}

/* A cell of a table holds no tab or line end. */
static char *cell_text(Str text)
{
    char *cell = mem_strndup(text.data, text.len);
    for (char *c = cell; c != NULL && *c != '\0'; c++)
        if (*c == '\t' || *c == '\n' || *c == '\r')
            *c = ' ';
    return cell;
}

/* Strings as they are, numbers as JSON writes them, lists joined by commas. */
static Status cell_of(const json_t *value, char **cell)
{
    StrBuf text;

    if (json_is_string(value)) {
        *cell = cell_text((Str){json_string_value(value), json_string_length(value)});
        return *cell != NULL ? LT_OK : LT_E_NOMEM;
    }
    strbuf_init(&text);
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++) {
            const json_t *item = json_array_get(value, i);
            strbuf_add_text(&text, i > 0 ? "," : "");
            if (json_is_string(item))
                strbuf_add(&text, json_string_value(item), json_string_length(item));
        }
    } else if (value != NULL && !json_is_null(value)) {
        const Status st = json_write(&text, value, (JsonStyle){.indent = -1, .compact = true});
        if (st != LT_OK) {
            strbuf_release(&text);
            return st;
        }
    }
    Status st = strbuf_status(&text);
    if (st == LT_OK) {
        *cell = cell_text(strbuf_str(&text));
        st = *cell != NULL ? LT_OK : LT_E_NOMEM;
    }
    strbuf_release(&text);
    return st;
}

static Status read_origin(CheckpointName *name, const char *path)
{
    json_t *document = NULL;
    StrBuf file;
    Status st;

    strbuf_init(&file);
    TRY_GOTO(path_join(&file, path, "lethe.json"), st, done);
    if (file_exists(file.data)) {
        TRY_GOTO(json_load_path(&document, file.data, LETHE_JSON_MAX), st, done);
        TRY_GOTO(json_to_object(json_root(document, file.data, 0)), st, done);
    }
    for (int i = 0; i < ORIGIN_FIELDS; i++)
        TRY_GOTO(cell_of(json_object_get(document, origin_field[i]), &name->origin[i]), st, done);
done:
    json_decref(document);
    strbuf_release(&file);
    return st;
}

static Status name_one(CheckpointName *name, const char *path, Str tail)
{
    StrBuf folder;

    TRY(read_origin(name, path));
    const char *given = name->origin[ORIGIN_LABEL];
    name->label = given[0] != '\0' ? mem_strdup(given) : cell_text(tail);
    if (name->label == NULL)
        return LT_E_NOMEM;
    strbuf_init(&folder);
    label_sanitise(&folder, str_of(name->label));
    /* "." and ".." are folders already, and "log" is ours. */
    if (name->label[0] == '.' || strcmp(name->label, "log") == 0)
        strbuf_add_char(&folder, '_');
    name->folder = strbuf_steal(&folder, NULL);
    return name->folder != NULL ? LT_OK : FAIL(LT_E_NOMEM, "out of memory");
}

Status names_make(CheckpointName **out, const char *const *path, size_t n)
{
    CheckpointName *name = NULL;
    char **real = NULL;
    Str *text = NULL;
    Status st;

    TRY_GOTO(MEM_NEW(name, n), st, done);
    TRY_GOTO(MEM_NEW(real, n), st, done);
    TRY_GOTO(MEM_NEW(text, n), st, done);
    for (size_t i = 0; i < n; i++) {
        text[i] = without_slashes(path[i]);
        const Str last = tail_of(text[i], 1);
        if (str_is(last, ".") || str_is(last, "..")) { /* these say nothing about the folder */
            real[i] = realpath(path[i], NULL);
            text[i] = real[i] != NULL ? str_of(real[i]) : text[i];
        }
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++)
            if (str_equal(text[i], text[j])) {
                st = FAIL(LT_E_USAGE, "checkpoint '%s' is given twice", path[i]);
                goto done;
            }
    }
    for (size_t i = 0; i < n; i++) {
        TRY_GOTO(name_one(&name[i], path[i], shortest_tail(text, n, i)), st, done);
        for (size_t j = 0; j < i; j++)
            if (strcmp(name[i].folder, name[j].folder) == 0) {
                st = FAIL(LT_E_USAGE, "checkpoints '%s' and '%s' have the same label '%s'", path[j], path[i], name[i].label);
                goto done;
            }
    }
    *out = name;
    name = NULL;
done:
    for (size_t i = 0; real != NULL && i < n; i++)
        free(real[i]);
    mem_free(real);
    mem_free(text);
    names_free(name, n);
    return st;
}

void names_free(CheckpointName *name, size_t n)
{
    for (size_t i = 0; name != NULL && i < n; i++) {
        mem_free(name[i].label);
        mem_free(name[i].folder);
        for (int f = 0; f < ORIGIN_FIELDS; f++)
            mem_free(name[i].origin[f]);
    }
    mem_free(name);
}
