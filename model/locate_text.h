/* Small text shared by everything that finds checkpoints: names from JSON files that strangers wrote, and lists in messages. */
#ifndef LETHE_MODEL_LOCATE_TEXT_H
#define LETHE_MODEL_LOCATE_TEXT_H

#include "core/json.h"

/* A copy of a string that can be a path and a cell of a table: at most 4096 bytes, without control characters (LT_E_INPUT otherwise). */
Status locate_text(Arena *arena, JsonAt at, const char **out);
/* The same for a member that may be absent or null: *out then stays as it is. */
Status locate_opt_text(Arena *arena, const JsonAt *object, const char *key, const char **out);
bool locate_text_is_plain(Str text);

/* FOLDER/name as an arena's string. */
Status locate_join(Arena *arena, const char *folder, const char *name, const char **out);
Status locate_has_file(const char *folder, const char *name, bool *out);

/* "a, b, c, and 5 more": a list that stays readable however long it is. Zero-initialise, add, end once; strbuf_release(&list.text). */
typedef struct NameList {
    StrBuf text;
    size_t count;
} NameList;
/* Counts an item; the text is of the caller's making where this says true. */
bool name_list_add(NameList *list);
Status name_list_end(NameList *list);

#endif
