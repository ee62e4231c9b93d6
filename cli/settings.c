#include "cli/settings.h"

#include "core/file.h"

#include <stdlib.h>

static Status settings_add(TaskSettings *s, Str task, Str value)
{
    TaskSetting added = {0};

    TRY(MEM_GROW(s->item, s->cap, s->count + 1));
    if (task.len > 0) {
        added.task = mem_strndup(task.data, task.len);
        TRY(added.task != NULL ? LT_OK : LT_E_NOMEM);
    }
    added.value = mem_strndup(value.data, value.len);
    if (added.value == NULL) {
        mem_free(added.task);
        return LT_E_NOMEM;
    }
    s->item[s->count++] = added;
    return LT_OK;
}

void settings_release(TaskSettings *settings)
{
    for (size_t i = 0; i < settings->count; i++) {
        mem_free(settings->item[i].task);
        mem_free(settings->item[i].value);
    }
    mem_free(settings->item);
    *settings = (TaskSettings){0};
}

static Status check_task(const char *option, Str task)
{
    const Task *unused;
    const Status st = task_get(&unused, task);

    return st == LT_OK ? LT_OK : status_wrap(st, "option '--%s'", option);
}

/* Digits only, and few enough of them to be a count of rows. */
static bool is_count(Str s)
{
    enum { DIGITS = 9 };

    if (s.len == 0 || s.len > DIGITS)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
    return true;
}

static Status check_value(const char *option, SettingKind kind, Str value)
{
    const size_t dash = str_find(value, str_of("-"), 0);

    if (kind == SETTING_COUNT && !is_count(value))
        return FAIL(LT_E_USAGE, "option '--%s': expected an integer of at least 0, found '" STR_FORMAT "'", option, STR_ARG(value));
    if (kind != SETTING_RANGE)
        return LT_OK;
    /* strtol stops at the dash and at the comma or NUL behind the value. */
    if (dash == SIZE_MAX || !is_count(str_slice(value, 0, dash)) || !is_count(str_slice(value, dash + 1, value.len)) ||
        strtol(value.data, NULL, 10) > strtol(value.data + dash + 1, NULL, 10))
        return FAIL(LT_E_USAGE, "option '--%s': expected FIRST-LAST, found '" STR_FORMAT "'", option, STR_ARG(value));
    return LT_OK;
}

/* "VALUE" or "TASK=VALUE". */
static Status add_part(TaskSettings *out, const char *option, Str part, SettingKind kind)
{
    const size_t equals = str_find(part, str_of("="), 0);
    const bool named = equals != SIZE_MAX;
    const Str task = named ? str_slice(part, 0, equals) : (Str){"", 0};
    const Str value = named ? str_slice(part, equals + 1, part.len) : part;

    if (!named && kind == SETTING_RANGE)
        return FAIL(LT_E_USAGE, "option '--%s': expected TASK=FIRST-LAST, found '" STR_FORMAT "'", option, STR_ARG(part));
    if (named)
        TRY(check_task(option, task));
    if (value.len == 0)
        return FAIL(LT_E_USAGE, "option '--%s': the value of '" STR_FORMAT "' is empty", option, STR_ARG(part));
    TRY(check_value(option, kind, value));
    return settings_add(out, task, value);
}

Status settings_parse(TaskSettings *out, const char *option, const char *text, SettingKind kind)
{
    while (text != NULL) {
        const size_t length = strcspn(text, ",");
        TRY(add_part(out, option, (Str){text, length}, kind));
        text = text[length] == ',' ? text + length + 1 : NULL;
    }
    return LT_OK;
}

Status settings_add_data(TaskSettings *files, const char **folder, const char *text)
{
    const char *equals = strchr(text, '=');

    /* A folder may have any name, one with "=" in it too. */
    if (equals == NULL || dir_exists(text)) {
        if (*folder != NULL)
            return FAIL(LT_E_USAGE, "option '--data': one folder expected, '%s' and '%s' found", *folder, text);
        *folder = text;
        return LT_OK;
    }
    const Str name = {text, (size_t)(equals - text)}, train = str_of(".train");
    const Str task = str_ends(name, train) ? str_slice(name, 0, name.len - train.len) : name;
    TRY(check_task("data", task));
    if (equals[1] == '\0')
        return FAIL(LT_E_USAGE, "option '--data': the file of '" STR_FORMAT "' is missing", STR_ARG(name));
    return settings_add(files, name, str_of(equals + 1));
}
