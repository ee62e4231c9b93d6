#include "cli/inspect.h"

#include "model/runinfo_manifest.h"

#include <stdio.h>

/* The facts in the order of the tables, as their cells. */
static const char *const fact[] = {"label", "condition", "run",  "method", "rank",   "alpha", "targets",
                                   "lr",    "seed",      "step", "tokens", "epochs", "base",  "template"};
enum { N_FACT = sizeof fact / sizeof *fact };

static Status put_facts(json_t *object, const RunInfo *info)
{
    Tsv cells = {0};
    Status st;

    TRY(tsv_init(&cells, fact, N_FACT));
    TRY_GOTO(tsv_row(&cells), st, done);
    TRY_GOTO(runinfo_set_row(&cells, 0, info), st, done);
    for (int i = 0; i < N_FACT; i++) {
        const char *cell = tsv_get(&cells, 0, fact[i]);
        if (cell[0] != '\0')
            TRY_GOTO(json_put(object, fact[i], json_string(cell)), st, done);
    }
done:
    tsv_release(&cells);
    return st;
}

Status inspect_origin(json_t *out, const char *folder)
{
    json_t *object = json_object();
    RunInfo info;
    Arena arena;

    TRY(json_put(out, "made", object));
    arena_init(&arena);
    Status st = runinfo_read(&info, &arena, folder);
    if (st == LT_OK)
        st = put_facts(object, &info);
    arena_release(&arena);
    return st;
}

static Status read_infos(RunInfo *info, Arena *arena, const char *const *argument, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        Located place;
        TRY(locate_checkpoint(&place, arena, argument[i]));
        TRY(runinfo_read(&info[i], arena, place.path));
    }
    return LT_OK;
}

Status inspect_manifest(const char *const *argument, size_t n_argument)
{
    RunInfo *info = NULL;
    Arena arena;
    StrBuf text;
    Status st;

    arena_init(&arena);
    strbuf_init(&text);
    TRY_GOTO(ARENA_NEW(&arena, info, n_argument), st, done);
    TRY_GOTO(read_infos(info, &arena, argument, n_argument), st, done);
    TRY_GOTO(manifest_write(&text, argument, info, n_argument), st, done);
    fwrite(text.data, 1, text.len, stdout);
done:
    strbuf_release(&text);
    arena_release(&arena);
    return st;
}
