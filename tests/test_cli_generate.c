/* lethe generate as a user runs it, on the made-up world. */
#include "tests/program.h"

#include "core/json.h"
#include "tests/world/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char model[4096];

static int make_world(void **state)
{
    const char *folder = test_folder();

    (void)state;
    snprintf(model, sizeof model, "%s/model", folder);
    CHECK_OK(world_make(folder, 5));
    return setenv("LETHE_CACHE", test_folder(), 1);
}

static void fails(const char *const *argument, int code, const char *part)
{
    ProgramRun r;

    program_run(&r, "", argument);
    if (r.code != code || str_find(strbuf_str(&r.err), str_of(part), 0) == SIZE_MAX)
        fail_msg("exit code %d, expected %d with '%s':\n%s", r.code, code, part, r.err.data);
    program_release(&r);
}

static ProgramRun succeeds(const char *const *argument)
{
    ProgramRun r;

    program_run(&r, "", argument);
    if (r.code != 0)
        fail_msg("exit code %d:\n%s", r.code, r.err.data);
    return r;
}

/* The generations of a --json run; json_decref. */
static json_t *generations(const char *const *argument, size_t want)
{
    ProgramRun r = succeeds(argument);
    json_t *document;

    CHECK_OK(json_parse(&document, strbuf_str(&r.out), "stdout", 0));
    json_t *list = json_incref(json_object_get(document, "generations"));
    assert_int_equal(json_array_size(list), want);
    json_decref(document);
    program_release(&r);
    return list;
}

static const char *prompts_file(const char *text) { return test_file(test_folder(), "prompts.jsonl", text, strlen(text)); }

static void test_cli_generate_says_the_same_in_any_company(void **state)
{
    const char *both = prompts_file("{\"prompt\": \"the cat\"}\n\n{\"prompt\": \"a dog sat on\"}\n");
    const char *one = prompts_file("{\"prompt\": \"a dog sat on\"}\n");
    json_t *many = generations(ARGUMENTS("generate", model, "--prompts", both, "--max-new", "12", "--samples", "3", "--temperature", "1",
                                         "--top-p", "0.9", "--seed", "4", "--json", "--ignore-eos"), 6);
    json_t *few = generations(ARGUMENTS("generate", model, "--prompts", one, "--max-new", "12", "--samples", "3", "--temperature", "1", "--top-p",
                                        "0.9", "--seed", "4", "--json", "--ignore-eos", "--threads", "1", "--rows", "1"), 3);

    (void)state;
    for (size_t i = 0; i < 3; i++)
        assert_true(json_equal(json_array_get(many, 3 + i), json_array_get(few, i)));
    assert_false(json_equal(json_array_get(few, 0), json_array_get(few, 1)));
    assert_int_equal(json_array_size(json_object_get(json_array_get(few, 0), "ids")), 12);
    assert_string_equal(json_string_value(json_object_get(json_array_get(few, 0), "finish")), "length");
    assert_true(json_real_value(json_object_get(json_array_get(few, 0), "logprob")) < 0);
    json_decref(many);
    json_decref(few);
}

/* What is printed as it comes is the text of --json, and ids say what texts say. */
static void test_cli_generate_prints_the_text_as_it_comes(void **state)
{
    json_t *json = generations(ARGUMENTS("generate", model, "--prompt", "the cat", "--max-new", "20", "--json", "--ignore-eos"), 1);
    ProgramRun r = succeeds(ARGUMENTS("generate", model, "--prompt", "the cat", "--max-new", "20", "--ignore-eos", "--quiet"));
    const char *text = json_string_value(json_object_get(json_array_get(json, 0), "text"));

    (void)state;
    assert_true(strlen(text) > 0 && r.out.len == strlen(text) + 1 && memcmp(r.out.data, text, strlen(text)) == 0);
    assert_int_equal(r.out.data[r.out.len - 1], '\n');
    assert_int_equal(r.err.len, 0);
    program_release(&r);
    json_decref(json);
}

static void test_cli_generate_takes_ids_and_stops(void **state)
{
    const char *ids = test_file(test_folder(), "ids.json", "[[5, 6, 7], [8]]", 16);
    json_t *whole = generations(ARGUMENTS("generate", model, "--ids", ids, "--max-new", "16", "--ignore-eos", "--json"), 2);
    const char *text = json_string_value(json_object_get(json_array_get(whole, 0), "text"));
    char stop[2] = {0};

    (void)state;
    assert_true(strlen(text) > 1);
    stop[0] = text[1]; /* one byte of ASCII: the world has no other */
    json_t *cut = generations(ARGUMENTS("generate", model, "--ids", ids, "--max-new", "16", "--ignore-eos", "--json", "--stop", stop), 2);
    const char *kept = json_string_value(json_object_get(json_array_get(cut, 0), "text"));
    assert_true(strchr(kept, stop[0]) == NULL && strncmp(text, kept, strlen(kept)) == 0);
    assert_string_equal(json_string_value(json_object_get(json_array_get(cut, 0), "finish")), "stop");
    json_decref(whole);
    json_decref(cut);
}

static void test_cli_generate_refuses_by_name(void **state)
{
    const char *ids = test_file(test_folder(), "ids.json", "[[1], [1, 99999]]", 17), *empty = test_file(test_folder(), "none.json", "[[]]", 4);
    const char *bad = prompts_file("{\"prompt\": \"fine\"}\n{\"text\": \"x\"}\n");

    (void)state;
    fails(ARGUMENTS("generate", model, "--max-new", "3"), 2, "one of --prompt, --ids and --prompts");
    fails(ARGUMENTS("generate", model, "--prompt", "x", "--ids", ids, "--max-new", "3"), 2, "found 2");
    fails(ARGUMENTS("generate", model, "--prompt", "x"), 2, "--max-new");
    fails(ARGUMENTS("generate", model, "--ids", ids, "--max-new", "3"), 3, "token 99999");
    fails(ARGUMENTS("generate", model, "--ids", empty, "--max-new", "3"), 3, "an empty prompt");
    fails(ARGUMENTS("generate", model, "--prompts", bad, "--max-new", "3"), 3, ":2: prompt");
    fails(ARGUMENTS("generate", model, "--prompt", "x", "--max-new", "3", "--top-p", "1.5"), 2, "top-p");
    fails(ARGUMENTS("generate", model, "--prompt", "x", "--max-new", "3", "--max-length", "3"), 2, "1 to 2 new tokens");
    fails(ARGUMENTS("generate", model, "--prompt", "x", "--max-new", "9", "--kv-memory", "0.0000001"), 4, "a page of 64 positions");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_cli_generate_says_the_same_in_any_company, make_world),
        cmocka_unit_test(test_cli_generate_prints_the_text_as_it_comes),
        cmocka_unit_test(test_cli_generate_takes_ids_and_stops),
        cmocka_unit_test(test_cli_generate_refuses_by_name),
    };

    return TEST_MAIN(tests);
}
