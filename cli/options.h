/* One table a verb: it parses the command line and prints --help.
 *
 * Options are long: --name value or --name=value; flags take none. A value that is half parsed, out of range or not among its choices is
 * LT_E_USAGE with the nearest valid name. Options and arguments may be mixed; "--" ends options. Of an option given twice the last counts,
 * unless it is a list. */
#ifndef LETHE_CLI_OPTIONS_H
#define LETHE_CLI_OPTIONS_H

#include "core/strbuf.h"

typedef enum OptionKind {
    OPTION_FLAG,    /* bool */
    OPTION_INT,     /* int64_t, between min and max */
    OPTION_REAL,    /* double, between min and max */
    OPTION_TEXT,    /* const char * */
    OPTION_CHOICE,  /* int: index into choices */
    OPTION_LIST,    /* OptionList: may be given several times */
} OptionKind;

typedef struct OptionList {
    const char **item;          /* point into argv */
    size_t count, cap;
} OptionList;

typedef struct Option {
    const char *name;           /* without the dashes */
    OptionKind kind;
    const char *value;          /* how help calls the value: "DIR" */
    const char *help;           /* one sentence; a default is part of it */
    size_t offset;              /* of the field in the verb's option struct */
    const char *const *choices; /* OPTION_CHOICE, NULL-terminated */
    double min, max;            /* min == max: any number */
    const char *group;          /* heading in help; NULL: as the one before */
    bool required;              /* OPTION_TEXT and OPTION_LIST only */
} Option;

typedef struct Verb {
    const char *name, *arguments, *summary; /* "score", "CKPT... --tasks LIST --data DIR --out DIR", "..." */
    const Option *option;       /* ends with name NULL; the common options follow in help */
    size_t options_bytes;       /* size of the option struct; zeroed, then `defaults` */
    void (*defaults)(void *options);
    int min_arguments, max_arguments; /* max -1: any number */
    Status (*run)(void *options, const char *const *argument, size_t n_argument, const char *command_line);
    const char *examples;       /* lines under "Examples", may be NULL */
} Verb;

/* Options every verb has; the first member of every verb's option struct. */
typedef struct CommonOptions {
    const char *device;
    int dtype;                  /* index into dtype_choices */
    int64_t threads, seed;
    bool quiet, json, help;
} CommonOptions;

extern const Option common_options[];     /* ends with name NULL */
extern const char *const dtype_choices[]; /* auto f32 bf16 f16 */

/* Fills the struct from what follows the verb on the command line; arguments (not options) are collected in order. Under --help the number of
 * arguments is not checked. What is filled points into argv. Free with options_release and option_list_release, also after a failure. */
Status options_parse(const Verb *verb, int argc, char **argv, void *options, OptionList *arguments);
void options_release(const Verb *verb, void *options);
void option_list_release(OptionList *list);
Status options_help(const Verb *verb, StrBuf *out);
/* Text in lines of at most 80 columns, continued under column `indent`; the cursor stands at column `at`. */
void options_wrap(StrBuf *out, const char *text, size_t indent, size_t at);

#endif
