/* Settings that may differ by task: "5" for all tasks, "hellaswag=0,winogrande=5" for some, or both. */
#ifndef LETHE_CLI_SETTINGS_H
#define LETHE_CLI_SETTINGS_H

#include "eval/score.h"

typedef enum SettingKind {
    SETTING_NAME,
    SETTING_COUNT, /* an integer of at least 0 */
    SETTING_RANGE, /* FIRST-LAST, of a named task */
} SettingKind;

/* text NULL: nothing. LT_E_USAGE names the option, and the nearest task for an unknown one. */
Status settings_parse(TaskSettings *out, const char *option, const char *text, SettingKind kind);
/* One value of --data: TASK=FILE and TASK.train=FILE go to `files`, a folder becomes *folder. */
Status settings_add_data(TaskSettings *files, const char **folder, const char *text);
void settings_release(TaskSettings *settings);

#endif
