/* Lethe's folders in the hands of transformers and PEFT, by tests/interop/check_transformers.py. Skipped where Python, $LETHE_PYTHON or python3 of the
 * PATH, does not have them. */
#include "tests/check.h"

#include "tests/interop/folders.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

enum { MISSING = 77, NOT_FOUND = 127 };

static const char *work;

static int make_folders(void **state)
{
    (void)state;
    work = test_folder();
    interop_make(work);
    if (setenv("INTEROP_WORK", work, 1) != 0 || setenv("LETHE_BINARY", "build/release/lethe", 0) != 0)
        return 1;
    return setenv("LETHE_CACHE", test_folder(), 1);
}

/* Passes on what the script prints; *last: its last line, which is the reason where something is missing. */
static int run_script(const char *command, char *last, size_t size)
{
    char line[1024];
    FILE *out = popen(command, "r");

    assert_non_null(out);
    last[0] = '\0';
    while (fgets(line, sizeof line, out) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        print_message("    %s\n", line);
        snprintf(last, size, "%s", line);
    }
    const int state = pclose(out);
    return WIFEXITED(state) ? WEXITSTATUS(state) : -1;
}

static void check(const char *command)
{
    char last[1024];
    const int code = run_script(command, last, sizeof last);

    if (code == MISSING || code == NOT_FOUND)
        test_skip(last);
    if (code != 0)
        fail_msg("exit code %d: %s", code, last);
}

/* The shell reads names from the environment: no quoting can break them. */
#define SCRIPT(what) "exec \"${LETHE_PYTHON:-python3}\" tests/interop/check_transformers.py " what " \"$LETHE_BINARY\" \"$INTEROP_WORK\" 2>&1"

static void test_interop_transformers_and_peft_compute_the_same(void **state)
{
    (void)state;
    check(SCRIPT("models"));
}

static void test_interop_transformers_tokenizes_the_same(void **state)
{
    (void)state;
    check(SCRIPT("tokenizers"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_interop_transformers_and_peft_compute_the_same, make_folders),
        cmocka_unit_test(test_interop_transformers_tokenizes_the_same),
    };

    return TEST_MAIN(tests);
}
