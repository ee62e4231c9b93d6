#include "eval/tasks/text.h"

#include <stdio.h>

Status text_join(Arena *arena, Str *out, const Str *part, size_t n_part)
{
    size_t total = 1; /* arenas have no empty blocks */
    for (size_t i = 0; i < n_part; i++)
        if (!mem_add(total, part[i].len, &total))
            return FAIL(LT_E_NOMEM, "a text of more bytes than memory has");
    char *text;
    TRY(ARENA_NEW(arena, text, total));
    size_t at = 0;
    for (size_t i = 0; i < n_part; i++) {
        if (part[i].len > 0)
            memcpy(text + at, part[i].data, part[i].len);
        at += part[i].len;
    }
    *out = (Str){text, at};
    return LT_OK;
}

Status label_read(const JsonAt *row, const char *key, int min, int max, int *out)
{
    BUG_IF(min < 0 || max > 9 || min > max);
    const JsonAt at = json_member(row, key);
    int64_t value = -1;
    if (json_is_string(at.value)) {
        const char *text = json_string_value(at.value);
        if (json_string_length(at.value) == 1 && text[0] >= '0' && text[0] <= '9')
            value = text[0] - '0';
    } else if (json_is_integer(at.value)) {
        value = json_integer_value(at.value);
    }
    if (value < min || value > max) {
        char what[64];
        snprintf(what, sizeof what, "a label from %d to %d, as a number or a string", min, max);
        return json_expected(at, what);
    }
    *out = (int)value;
    return LT_OK;
}

Status question_join(Arena *arena, Str question, Str answer, Str *shot, Str *context)
{
    const Str part[] = {str_of("Question: "), question, str_of("\nAnswer:"), str_of(" "), answer};
    Str text;
    TRY(text_join(arena, &text, part, sizeof part / sizeof *part));
    *shot = text;
    *context = str_slice(text, 0, text.len - answer.len - 1);
    return LT_OK;
}
