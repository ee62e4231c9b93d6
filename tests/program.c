#include "tests/program.h"

#include "core/file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_ARGUMENTS = 62, MOST_OUTPUT = 64 << 20 };

/* In the child, where nothing but exec or the end may follow. */
static void become_program(const char *binary, char **argv, const char *const stream[3])
{
    for (int fd = 0; fd < 3; fd++) {
        const int file = open(stream[fd], fd == 0 ? O_RDONLY : O_WRONLY | O_TRUNC);
        if (file < 0 || dup2(file, fd) < 0)
            _exit(126);
        close(file);
    }
    execv(binary, argv);
    _exit(126);
}

void program_run(ProgramRun *run, const char *input, const char *const *argument)
{
    const char *binary = getenv("LETHE_BINARY"), *folder = test_folder();
    const char *const stream[3] = {
        test_file(folder, "in", input, strlen(input)),
        test_file(folder, "out", "", 0),
        test_file(folder, "err", "", 0),
    };
    char *argv[MOST_ARGUMENTS + 2] = {NULL};
    int state = 0;

    if (binary == NULL || *binary == '\0')
        binary = "build/release/lethe";
    argv[0] = (char *)(uintptr_t)binary;
    for (int i = 0; argument[i] != NULL; i++) {
        assert_true(i < MOST_ARGUMENTS);
        argv[i + 1] = (char *)(uintptr_t)argument[i];
    }
    const pid_t child = fork();
    if (child == 0)
        become_program(binary, argv, stream);
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &state, 0), child);
    run->code = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
    if (run->code == 126)
        fail_msg("cannot run '%s'", binary);
    strbuf_init(&run->out);
    strbuf_init(&run->err);
    CHECK_OK(file_read(stream[1], MOST_OUTPUT, &run->out));
    CHECK_OK(file_read(stream[2], MOST_OUTPUT, &run->err));
    /* An empty stream is an empty text, not a missing one. */
    strbuf_add_text(&run->out, "");
    strbuf_add_text(&run->err, "");
}

void program_release(ProgramRun *run)
{
    strbuf_release(&run->out);
    strbuf_release(&run->err);
}

size_t count_lines(const StrBuf *text)
{
    size_t n = 0;

    for (size_t i = 0; i < text->len; i++)
        n += text->data[i] == '\n' || i + 1 == text->len;
    return n;
}
