#include "model/locate_hub.h"

#include "core/file.h"
#include "core/map.h"
#include "model/locate_text.h"

#include <stdlib.h>

enum { COMMIT_DIGITS = 40, SHORT_COMMIT = 12, MIN_PREFIX = 7, MAX_NAME = 96, MAX_REF_DEPTH = 8, MAX_REF_BYTES = 4096 };

/* ---- spelling ------------------------------------------------------------------------------------------------------------- */

/* The hub's rule for the two halves of an id. It keeps "./x", "../x" and "-x" from being one. */
static bool is_name(Str s)
{
    bool ends_well = s.len > 0 && s.len <= MAX_NAME && strchr("-.", s.data[0]) == NULL && strchr("-.", s.data[s.len - 1]) == NULL;

    for (size_t i = 0; i < s.len && ends_well; i++) {
        const char c = s.data[i];
        ends_well = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
    }
    return ends_well && str_find(s, str_of(".."), 0) == SIZE_MAX && str_find(s, str_of("--"), 0) == SIZE_MAX;
}

Status hub_parse(HubId *out, Arena *arena, const char *text, bool *is_id)
{
    const char *at = strchr(text, '@'), *slash = strchr(text, '/');
    const size_t repo_len = at != NULL ? (size_t)(at - text) : strlen(text);
    HubId id = {0};

    *is_id = slash != NULL && slash < text + repo_len && is_name((Str){text, (size_t)(slash - text)}) &&
             is_name((Str){slash + 1, (size_t)(text + repo_len - slash - 1)});
    if (!*is_id)
        return LT_OK;
    id.repo = arena_strndup(arena, text, repo_len);
    if (id.repo == NULL)
        return LT_E_NOMEM;
    if (at != NULL) {
        id.revision = arena_strndup(arena, at + 1, strlen(at + 1));
        if (id.revision == NULL)
            return LT_E_NOMEM;
    }
    *out = id;
    return LT_OK;
}

/* A revision becomes a path below refs/: it must not lead anywhere else. */
static bool is_revision(const char *text)
{
    const Str all = str_of(text);

    for (size_t from = 0; from <= all.len;) {
        const size_t slash = str_find(all, str_of("/"), from);
        const Str part = str_slice(all, from, slash == SIZE_MAX ? all.len : slash);
        if (part.len == 0 || str_is(part, ".") || str_is(part, ".."))
            return false;
        from += part.len + 1;
    }
    return locate_text_is_plain(all);
}

static bool is_hex(Str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!(s.data[i] >= '0' && s.data[i] <= '9') && !(s.data[i] >= 'a' && s.data[i] <= 'f'))
            return false;
    return true;
}

/* ---- places --------------------------------------------------------------------------------------------------------------- */

/* NULL if unset or empty. */
static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static Status cache_folder(StrBuf *out)
{
    const char *hub = variable("HF_HUB_CACHE"), *hf = variable("HF_HOME"), *xdg = variable("XDG_CACHE_HOME"), *home = variable("HOME");
    const char *root = hub != NULL ? hub : hf != NULL ? hf : xdg != NULL ? xdg : home;
    const char *below = hub != NULL ? "" : hf != NULL ? "/hub" : xdg != NULL ? "/huggingface/hub" : "/.cache/huggingface/hub";

    if (root == NULL)
        return FAIL(LT_E_INPUT, "cannot look for a Hugging Face cache: none of HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME and HOME is set");
    /* The Python library expands this too; a shell does not where the value stands in quotes. */
    if (root[0] == '~' && root[1] == '/' && home != NULL) {
        strbuf_add_text(out, home);
        root++;
    }
    strbuf_addf(out, "%s%s", root, below);
    return strbuf_status(out);
}

/* CACHE/models--org--name */
static Status repo_folder(Arena *arena, const char *repo, const char **out)
{
    const char *slash = strchr(repo, '/');
    StrBuf path;
    Status st;

    strbuf_init(&path);
    TRY_GOTO(cache_folder(&path), st, done);
    strbuf_addf(&path, "/models--%.*s--%s", (int)(slash - repo), repo, slash + 1);
    TRY_GOTO(strbuf_status(&path), st, done);
    *out = arena_strndup(arena, path.data, path.len);
    if (*out == NULL)
        st = LT_E_NOMEM;
done:
    strbuf_release(&path);
    return st;
}

/* The commit that the file of a ref holds. */
static Status read_ref(Arena *arena, const char *path, const char **commit)
{
    StrBuf text;
    Status st;

    strbuf_init(&text);
    TRY_GOTO(file_read(path, MAX_REF_BYTES, &text), st, done);
    while (text.len > 0 && strchr("\r\n ", text.data[text.len - 1]) != NULL)
        text.len--;
    if (text.len != COMMIT_DIGITS || !is_hex(strbuf_str(&text))) {
        st = FAIL(LT_E_INPUT, "%s: expected a commit of %d hex digits, found %zu bytes of something else", path, COMMIT_DIGITS, text.len);
        goto done;
    }
    *commit = arena_strndup(arena, text.data, text.len);
    if (*commit == NULL)
        st = LT_E_NOMEM;
done:
    strbuf_release(&text);
    return st;
}

/* ---- what is there, for messages ------------------------------------------------------------------------------------------- */

typedef struct Revisions {
    NameList names;
    Map commit; /* those that a ref names */
    Arena text;
} Revisions;

static Status list_ref(Revisions *r, const char *path, const char *name)
{
    const char *commit = NULL;

    if (read_ref(&r->text, path, &commit) == LT_E_NOMEM)
        return LT_E_NOMEM;
    status_clear(); /* a damaged ref is no revision, and not what this message is about */
    if (commit == NULL)
        return LT_OK;
    if (name_list_add(&r->names))
        strbuf_addf(&r->names.text, "%s (%.*s)", name, SHORT_COMMIT, commit);
    return map_put(&r->commit, str_of(commit), 0, NULL);
}

/* All refs below `folder`; `name` is the way from refs/ to it, "" at the top. */
static Status list_refs(Revisions *r, const char *folder, const char *name, int depth)
{
    FileList files = {0};
    Status st = LT_OK;

    if (depth == MAX_REF_DEPTH || !dir_exists(folder))
        return LT_OK;
    TRY(dir_list(folder, &files));
    for (size_t i = 0; i < files.count; i++) {
        const char *path, *below;

        TRY_GOTO(locate_join(&r->text, folder, files.name[i], &path), st, done);
        TRY_GOTO(locate_join(&r->text, name, files.name[i], &below), st, done);
        TRY_GOTO(dir_exists(path) ? list_refs(r, path, below, depth + 1) : list_ref(r, path, below), st, done);
    }
done:
    file_list_release(&files);
    return st;
}

/* Snapshots that no ref names. */
static Status list_snapshots(Revisions *r, const FileList *snapshots)
{
    int64_t value;

    for (size_t i = 0; i < snapshots->count; i++)
        if (!map_get(&r->commit, str_of(snapshots->name[i]), &value) && name_list_add(&r->names))
            strbuf_addf(&r->names.text, "%.*s", SHORT_COMMIT, snapshots->name[i]);
    return name_list_end(&r->names);
}

static Status refuse_revision(const HubId *id, const char *repo, const FileList *snapshots, const char *what)
{
    Revisions r = {0};
    const char *refs;
    Status st;

    map_init(&r.commit);
    arena_init(&r.text);
    TRY_GOTO(locate_join(&r.text, repo, "refs", &refs), st, done);
    TRY_GOTO(list_refs(&r, refs, "", 0), st, done);
    TRY_GOTO(list_snapshots(&r, snapshots), st, done);
    st = FAIL(LT_E_INPUT, "'%s': revision '%s' %s in the Hugging Face cache ('%s'); it has %s", id->repo, id->revision, what, repo,
              r.names.count > 0 ? r.names.text.data : "no revision at all");
done:
    strbuf_release(&r.names.text);
    map_release(&r.commit);
    arena_release(&r.text);
    return st;
}

/* ---- finding ---------------------------------------------------------------------------------------------------------------- */

/* The commit that the revision means: that of the ref, else the only snapshot whose name begins so. */
static Status find_commit(Arena *arena, const HubId *id, const char *repo, const FileList *snapshots, const char **commit)
{
    const Str wanted = str_of(id->revision);
    const char *refs, *ref;
    size_t found = 0, n_found = 0;

    TRY(locate_join(arena, repo, "refs", &refs));
    TRY(locate_join(arena, refs, id->revision, &ref));
    if (file_exists(ref))
        return read_ref(arena, ref, commit);
    if (wanted.len < MIN_PREFIX || !is_hex(wanted))
        return refuse_revision(id, repo, snapshots, "is not");
    for (size_t i = 0; i < snapshots->count; i++)
        if (str_starts(str_of(snapshots->name[i]), wanted)) {
            found = i;
            n_found++;
        }
    if (n_found != 1)
        return refuse_revision(id, repo, snapshots, n_found == 0 ? "is not" : "begins several commits");
    *commit = arena_strndup(arena, snapshots->name[found], strlen(snapshots->name[found]));
    return *commit != NULL ? LT_OK : LT_E_NOMEM;
}

static Status find_snapshot(Arena *arena, const HubId *id, const char *repo, const char **folder, const char **commit)
{
    FileList snapshots = {0};
    const char *all, *path = NULL, *name = NULL;
    Status st;

    TRY(locate_join(arena, repo, "snapshots", &all));
    if (dir_exists(all))
        TRY(dir_list(all, &snapshots));
    TRY_GOTO(find_commit(arena, id, repo, &snapshots, &name), st, done);
    TRY_GOTO(locate_join(arena, all, name, &path), st, done);
    if (!dir_exists(path)) {
        st = refuse_revision(id, repo, &snapshots, "is known, but its snapshot is not");
        goto done;
    }
    *folder = path;
    *commit = name;
done:
    file_list_release(&snapshots);
    return st;
}

Status hub_find(Arena *arena, const HubId *id, const char **folder, const char **commit)
{
    const HubId full = {id->repo, id->revision != NULL ? id->revision : "main"};
    const char *repo;

    if (!is_revision(full.revision))
        return FAIL(LT_E_INPUT, "'%s': expected a branch, a tag or a commit as revision, found '%s'", full.repo, full.revision);
    TRY(repo_folder(arena, full.repo, &repo));
    if (!dir_exists(repo))
        return FAIL(LT_E_INPUT, "'%s': expected a folder, or a model in the Hugging Face cache, found neither ('%s' is not there); "
                    "where there is a network, fetch it with: hf download %s",
                    full.repo, repo, full.repo);
    return find_snapshot(arena, &full, repo, folder, commit);
}
