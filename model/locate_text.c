#include "model/locate_text.h"

#include "core/file.h"

enum { MAX_TEXT = 4096, MAX_LISTED = 12 };

bool locate_text_is_plain(Str text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] < ' ' || text.data[i] == 0x7f)
            return false;
    return text.len <= MAX_TEXT;
}

Status locate_text(Arena *arena, JsonAt at, const char **out)
{
    Str text;

    TRY(json_to_str(at, &text));
    if (!locate_text_is_plain(text))
        return json_expected(at, "at most 4096 bytes of text without control characters");
    const char *copy = arena_strndup(arena, text.data, text.len);
    if (copy == NULL)
        return LT_E_NOMEM;
    *out = copy;
    return LT_OK;
}

Status locate_opt_text(Arena *arena, const JsonAt *object, const char *key, const char **out)
{
    const JsonAt at = json_member(object, key);
    return json_here(at) ? locate_text(arena, at, out) : LT_OK;
}

Status locate_join(Arena *arena, const char *folder, const char *name, const char **out)
{
    StrBuf path;

    strbuf_init(&path);
    Status st = path_join(&path, folder, name);
    if (st == LT_OK) {
        const char *copy = arena_strndup(arena, path.data, path.len);
        if (copy != NULL)
            *out = copy;
        else
            st = LT_E_NOMEM;
    }
    strbuf_release(&path);
    return st;
}

Status locate_has_file(const char *folder, const char *name, bool *out)
{
    StrBuf path;

    strbuf_init(&path);
    const Status st = path_join(&path, folder, name);
    if (st == LT_OK)
        *out = file_exists(path.data);
    strbuf_release(&path);
    return st;
}

bool name_list_add(NameList *list)
{
    if (list->count++ >= MAX_LISTED)
        return false;
    if (list->count > 1)
        strbuf_add_text(&list->text, ", ");
    return true;
}

Status name_list_end(NameList *list)
{
    if (list->count > MAX_LISTED)
        strbuf_addf(&list->text, ", and %zu more", list->count - MAX_LISTED);
    return strbuf_status(&list->text);
}
