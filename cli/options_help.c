#include "cli/options.h"

/* Explanations start here; what stands left of them is kept short. */
enum { HELP_COLUMN = 26, HELP_WIDTH = 80 };

static void pad_to(StrBuf *out, size_t at, size_t column)
{
    for (; at < column; at++)
        strbuf_add_char(out, ' ');
}

void options_wrap(StrBuf *out, const char *text, size_t indent, size_t at)
{
    bool first = true;

    pad_to(out, at, indent);
    for (at = at > indent ? at : indent; *text != '\0';) {
        const size_t word = strcspn(text, " ");
        if (!first && at + 1 + word > HELP_WIDTH) {
            strbuf_add_char(out, '\n');
            pad_to(out, 0, indent);
            at = indent;
        } else if (!first) {
            strbuf_add_char(out, ' ');
            at++;
        }
        strbuf_add(out, text, word);
        at += word;
        text += word;
        text += strspn(text, " ");
        first = false;
    }
    strbuf_add_char(out, '\n');
}

static void help_option(StrBuf *out, const Option *o)
{
    const size_t begin = out->len;

    strbuf_addf(out, "  --%s", o->name);
    if (o->kind == OPTION_CHOICE)
        for (int i = 0; o->choices[i] != NULL; i++)
            strbuf_addf(out, "%c%s", i == 0 ? ' ' : '|', o->choices[i]);
    else if (o->kind != OPTION_FLAG)
        strbuf_addf(out, " %s", o->value);
    size_t at = out->len - begin;
    if (at + 2 > HELP_COLUMN) {
        strbuf_add_char(out, '\n');
        at = 0;
    }
    options_wrap(out, o->help, HELP_COLUMN, at);
}

static void help_table(StrBuf *out, const Option *table)
{
    for (const Option *o = table; o->name != NULL; o++) {
        if (o->group != NULL)
            strbuf_addf(out, "\n%s\n", o->group);
        help_option(out, o);
    }
}

Status options_help(const Verb *verb, StrBuf *out)
{
    strbuf_addf(out, "usage: lethe %s %s\n\n", verb->name, verb->arguments);
    options_wrap(out, verb->summary, 0, 0);
    help_table(out, verb->option);
    help_table(out, common_options);
    if (verb->examples != NULL)
        strbuf_addf(out, "\nExamples\n%s", verb->examples);
    return strbuf_status(out);
}
