#include "eval/score/label.h"

#include "core/file.h"
#include "model/locate.h"
#include "model/runinfo_manifest.h"

#include <stdlib.h>

const char *const origin_field[ORIGIN_FIELDS] = {"condition", "run",  "base", "method", "rank",   "alpha",  "targets",
                                                 "lr",        "seed", "step", "tokens", "epochs", "template", "label"};
enum { ORIGIN_LABEL = ORIGIN_FIELDS - 1 };

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

/* What the manifest says of a checkpoint, over its own account of itself. Trouble with lethe.json, which is ours, ends the command; other people's files are read for more than this
 * later, and trouble with them is then the checkpoint's. */
static Status read_info(RunInfo *info, Arena *arena, const char *argument, const Manifest *manifest)
{
    Located place = {.given = argument, .path = argument};
    StrBuf own;

    Status st = locate_checkpoint(&place, arena, argument);
    if (st == LT_E_INPUT)
        status_clear();
    else
        TRY(st);
    strbuf_init(&own);
    st = path_join(&own, place.path, "lethe.json");
    const bool ours = st == LT_OK && file_exists(own.data);
    strbuf_release(&own);
    if (st == LT_OK)
        st = runinfo_read(info, arena, place.path);
    if (st == LT_E_INPUT && !ours) {
        status_clear();
        *info = runinfo_unknown();
        st = LT_OK;
    }
    if (st == LT_OK)
        manifest_apply(manifest, &place, info);
    return st;
}

static Status read_origin(CheckpointName *name, const char *path, const Manifest *manifest)
{
    Tsv cells = {0};
    RunInfo info;
    Arena arena;
    Status st;

    arena_init(&arena);
    TRY_GOTO(read_info(&info, &arena, path, manifest), st, done);
    TRY_GOTO(tsv_init(&cells, origin_field, ORIGIN_FIELDS), st, done);
    TRY_GOTO(tsv_row(&cells), st, done);
    TRY_GOTO(runinfo_set_row(&cells, 0, &info), st, done);
    for (int i = 0; i < ORIGIN_FIELDS; i++) {
        name->origin[i] = mem_strdup(tsv_get(&cells, 0, origin_field[i]));
        if (name->origin[i] == NULL) {
            st = LT_E_NOMEM;
            goto done;
        }
    }
done:
    tsv_release(&cells);
    arena_release(&arena);
    return st;
}

static Status name_one(CheckpointName *name, const char *path, Str tail, const Manifest *manifest)
{
    StrBuf folder;

    TRY(read_origin(name, path, manifest));
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

static Status make_names(CheckpointName **out, const char *const *path, size_t n, const Manifest *manifest)
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
        TRY_GOTO(name_one(&name[i], path[i], shortest_tail(text, n, i), manifest), st, done);
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

Status names_make(CheckpointName **out, const char *const *path, size_t n, const char *manifest)
{
    Manifest rows = {0};
    Arena arena;

    arena_init(&arena);
    Status st = manifest != NULL ? manifest_read(&rows, &arena, manifest) : LT_OK;
    if (st == LT_OK)
        st = make_names(out, path, n, &rows);
    arena_release(&arena);
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
