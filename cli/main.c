#include "cli/verbs.h"

#include "core/json.h"
#include "core/log.h"
#include "core/version.h"

#include <errno.h>
#include <stdio.h>

/* The command line as a shell would read it back, for run.json: words with anything unusual in single quotes. */
static Status join_command_line(StrBuf *out, int argc, char **argv)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%";

    for (int i = 0; i < argc; i++) {
        if (i > 0)
            strbuf_add_char(out, ' ');
        if (*argv[i] != '\0' && argv[i][strspn(argv[i], plain)] == '\0') {
            strbuf_add_text(out, argv[i]);
            continue;
        }
        strbuf_add_char(out, '\'');
        for (const char *c = argv[i]; *c != '\0'; c++) {
            if (*c == '\'')
                strbuf_add_text(out, "'\\''");
            else
                strbuf_add_char(out, *c);
        }
        strbuf_add_char(out, '\'');
    }
    return strbuf_status(out);
}

static Status run_verb(const Verb *verb, int argc, char **argv, const char *command_line)
{
    OptionList arguments = {0};
    void *options;
    Status st;

    TRY((options = mem_take(1, verb->options_bytes)) != NULL ? LT_OK : LT_E_NOMEM);
    TRY_GOTO(options_parse(verb, argc, argv, options, &arguments), st, done);
    const CommonOptions *common = options;
    if (common->quiet)
        log_set_level(LOG_QUIET);
    if (common->help)
        TRY_GOTO(verb_help.run(NULL, &verb->name, 1, command_line), st, done);
    else
        TRY_GOTO(verb->run(options, arguments.item, arguments.count, command_line), st, done);
done:
    option_list_release(&arguments);
    options_release(verb, options);
    mem_free(options);
    return st;
}

static Status dispatch(int argc, char **argv)
{
    const Verb *verb = NULL;
    StrBuf command_line;
    Status st;

    if (argc < 2)
        return FAIL(LT_E_USAGE, "no verb given: 'lethe help' lists them");
    if (strcmp(argv[1], "--version") == 0) {
        printf("lethe %s\n", LETHE_VERSION);
        return LT_OK;
    }
    if (strcmp(argv[1], "--help") == 0)
        return verb_help.run(NULL, NULL, 0, "");
    TRY(verb_find(&verb, argv[1]));
    strbuf_init(&command_line);
    TRY_GOTO(join_command_line(&command_line, argc, argv), st, done);
    st = run_verb(verb, argc - 2, argv + 2, command_line.data);
done:
    strbuf_release(&command_line);
    return st;
}

/* Results that did not reach a full disk or a closed pipe must not end with code 0. */
static Status finish_output(void)
{
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout))
        return FAIL(LT_E_IO, "cannot write the results to stdout: %s", errno != 0 ? strerror(errno) : "a write failed");
    return LT_OK;
}

int main(int argc, char **argv)
{
    Status st;

    json_use_mem();
    st = dispatch(argc, argv);
    if (st == LT_OK)
        st = finish_output();
    if (st != LT_OK)
        log_error("%s", *status_text() != '\0' ? status_text() : status_name(st));
    return status_exit_code(st);
}
