#include "model/locate.h"

#include "core/json.h"
#include "model/locate_hub.h"
#include "model/locate_text.h"

enum { ADAPTER_CONFIG_MAX = 16 << 20 };

/* ---- folders and hub ids ---------------------------------------------------------------------------------------------------- */

/* Sets given, path and commit. */
static Status find_folder(Located *out, Arena *arena, const char *argument)
{
    Located found = {.given = arena_strndup(arena, argument, strlen(argument))};
    bool is_id;
    HubId id;

    if (found.given == NULL)
        return LT_E_NOMEM;
    if (dir_exists(argument)) {
        found.path = found.given;
    } else {
        if (file_exists(argument))
            return FAIL(LT_E_INPUT, "'%s': expected a folder, found a file; give the folder that holds it", argument);
        TRY(hub_parse(&id, arena, argument, &is_id));
        if (!is_id)
            return FAIL(LT_E_INPUT, "'%s': expected a folder or a hub id ORG/NAME[@REVISION], found no such folder", argument);
        TRY(hub_find(arena, &id, &found.path, &found.commit));
    }
    *out = found;
    return LT_OK;
}

Status locate_checkpoint(Located *out, Arena *arena, const char *argument)
{
    const char *inner;
    Located found;

    TRY(find_folder(&found, arena, argument));
    TRY(folder_named_adapter(arena, found.path, &inner));
    if (inner != NULL)
        found.path = inner;
    TRY(folder_kind(found.path, &found.kind));
    *out = found;
    return LT_OK;
}

/* ---- the base of an adapter -------------------------------------------------------------------------------------------------- */

static Status check_base(const Located *base, const Located *adapter)
{
    if (base->kind == FOLDER_MODEL)
        return LT_OK;
    return FAIL(LT_E_INPUT, "'%s': expected a model as the base of '%s', found another adapter", base->given, adapter->given);
}

/* The folder that `name` means, seen from here or from the adapter; *path stays NULL if there is none. */
static Status find_base_folder(Arena *arena, const char *adapter, const char *name, const char **path)
{
    const char *beside;

    if (dir_exists(name)) {
        *path = name;
        return LT_OK;
    }
    if (name[0] == '/')
        return LT_OK;
    TRY(locate_join(arena, adapter, name, &beside));
    if (dir_exists(beside))
        *path = beside;
    return LT_OK;
}

static Status resolve_base(Located *out, Arena *arena, const Located *adapter, const char *name, const char *revision)
{
    Located base = {.given = name};
    HubId id;
    bool is_id;

    TRY(find_base_folder(arena, adapter->path, name, &base.path));
    if (base.path == NULL) {
        TRY(hub_parse(&id, arena, name, &is_id));
        if (!is_id)
            return FAIL(LT_E_INPUT, "expected a folder or a hub id, found '%s', and no such folder from here or from the adapter's", name);
        if (revision != NULL)
            id.revision = revision;
        TRY(hub_find(arena, &id, &base.path, &base.commit));
    }
    TRY(folder_kind(base.path, &base.kind));
    TRY(check_base(&base, adapter));
    *out = base;
    return LT_OK;
}

static Status read_base_name(Arena *arena, const char *file, const char **name, const char **revision)
{
    json_t *document;
    Status st;

    TRY(json_load_path(&document, file, ADAPTER_CONFIG_MAX));
    const JsonAt root = json_root(document, file, 0), at = json_member(&root, "base_model_name_or_path");
    TRY_GOTO(json_to_object(root), st, done);
    if (!json_here(at)) {
        st = json_fail(at, "the adapter does not say what its base is; name it with --base");
        goto done;
    }
    TRY_GOTO(locate_text(arena, at, name), st, done);
    TRY_GOTO(locate_opt_text(arena, &root, "revision", revision), st, done);
    if ((*name)[0] == '\0')
        st = json_expected(at, "a folder or a hub id (or --base)");
done:
    json_decref(document);
    return st;
}

Status locate_base(Located *out, Arena *arena, const Located *adapter, const char *given)
{
    const char *file, *name = NULL, *revision = NULL;
    Located base;

    BUG_IF(adapter->kind != FOLDER_ADAPTER);
    if (given != NULL) {
        TRY(locate_checkpoint(&base, arena, given));
        TRY(check_base(&base, adapter));
        *out = base;
        return LT_OK;
    }
    TRY(locate_join(arena, adapter->path, "adapter_config.json", &file));
    TRY(read_base_name(arena, file, &name, &revision));
    const Status st = resolve_base(out, arena, adapter, name, revision);
    return st == LT_OK ? LT_OK : status_wrap(st, "%s: base_model_name_or_path (another base can be named with --base)", file);
}

/* ---- tokenizers --------------------------------------------------------------------------------------------------------------- */

Status locate_tokenizer_file(const char *folder, const char **out)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer.model"};
    bool here = false;

    *out = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !here; i++) {
        TRY(locate_has_file(folder, names[i], &here));
        if (here)
            *out = names[i];
    }
    return LT_OK;
}

/* Notes the folder's tokenizer: as the one to use, or as one that differs from it. */
static Status try_tokenizer(TokenizerPlace *place, const char *folder, FileHashMode mode)
{
    const char *file;
    Digest digest;
    StrBuf path;
    Status st;

    TRY(locate_tokenizer_file(folder, &file));
    if (file == NULL || place->other != NULL)
        return LT_OK;
    strbuf_init(&path);
    TRY_GOTO(path_join(&path, folder, file), st, done);
    TRY_GOTO(filehash_get(path.data, mode, &digest), st, done);
    if (place->folder == NULL) {
        place->folder = folder;
        place->file = file;
        place->digest = digest;
    } else if (strcmp(file, place->file) == 0 && memcmp(&digest, &place->digest, sizeof digest) != 0) {
        place->other = folder;
        place->other_digest = digest;
    }
done:
    strbuf_release(&path);
    return st;
}

Status locate_tokenizer(TokenizerPlace *out, Arena *arena, const char *given, const Located *checkpoint, const Located *base, FileHashMode mode)
{
    TokenizerPlace place = {0};
    Located named;

    if (given != NULL) {
        TRY(find_folder(&named, arena, given));
        TRY(try_tokenizer(&place, named.path, mode));
        if (place.folder == NULL)
            return FAIL(LT_E_INPUT, "'%s': expected a folder with tokenizer.json or tokenizer.model (--tokenizer), found neither", given);
    }
    TRY(try_tokenizer(&place, checkpoint->path, mode));
    if (base != NULL)
        TRY(try_tokenizer(&place, base->path, mode));
    if (place.folder == NULL && base != NULL)
        return FAIL(LT_E_INPUT, "%s: expected tokenizer.json or tokenizer.model here or in the base '%s', found neither; name its folder with --tokenizer",
                    checkpoint->path, base->path);
    if (place.folder == NULL)
        return FAIL(LT_E_INPUT, "%s: expected tokenizer.json or tokenizer.model, found neither; name its folder with --tokenizer", checkpoint->path);
    *out = place;
    return LT_OK;
}
