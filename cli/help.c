#include "cli/verbs.h"

#include "core/version.h"

#include <stdio.h>

static const Option help_options[] = {{0}};

static void help_overview(StrBuf *out)
{
    enum { SUMMARY_COLUMN = 12 };

    strbuf_addf(out, "lethe %s: measures what fine-tuning teaches a language model and what it makes it forget\n\n", LETHE_VERSION);
    strbuf_add_text(out, "usage: lethe VERB [options] [arguments]\n\n");
    for (const Verb *const *v = verbs; *v != NULL; v++) {
        const size_t begin = out->len;
        strbuf_addf(out, "  %s", (*v)->name);
        options_wrap(out, (*v)->summary, SUMMARY_COLUMN, out->len - begin);
    }
    strbuf_add_text(out, "\n'lethe help VERB' explains one; 'lethe --version' says which Lethe this is.\n");
    options_wrap(out,
                 "Exit codes: 0 done, 1 failed, 2 misuse, 3 bad input file, 4 out of memory or device trouble, 130 interrupted with the state saved.",
                 0, 0);
}

static Status help_run(void *options, const char *const *argument, size_t n_argument, const char *command_line)
{
    StrBuf text;
    const Verb *verb = NULL;
    Status st = LT_OK;

    (void)options, (void)command_line;
    strbuf_init(&text);
    if (n_argument == 0)
        help_overview(&text);
    else
        TRY_GOTO(verb_find(&verb, argument[0]), st, done);
    if (verb != NULL)
        TRY_GOTO(options_help(verb, &text), st, done);
    TRY_GOTO(strbuf_status(&text), st, done);
    fwrite(text.data, 1, text.len, stdout);
done:
    strbuf_release(&text);
    return st;
}

const Verb verb_help = {
    .name = "help",
    .arguments = "[VERB]",
    .summary = "list the verbs, or the options of one",
    .option = help_options,
    .options_bytes = sizeof(CommonOptions),
    .max_arguments = 1,
    .run = help_run,
};
