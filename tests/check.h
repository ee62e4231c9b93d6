/* What every test includes: cmocka, checks that print the recorded error, and the way to the golden data.
 *
 * A test that needs data which is not there calls test_data or test_skip and is counted as skipped, with its reason. */
#ifndef LETHE_TESTS_CHECK_H
#define LETHE_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/status.h"
#include "core/strbuf.h"

/* The call succeeds; else the test fails with the status text. */
#define CHECK_OK(call) check_status((call), LT_OK, NULL, #call, __FILE__, __LINE__)
/* The call fails with this code and its text contains `part` (NULL: any); the recorded text is cleared. */
#define CHECK_FAILS(call, code, part) check_status((call), (code), (part), #call, __FILE__, __LINE__)
void check_status(Status got, Status want, const char *part, const char *what, const char *file, int line);

/* Every |got - want| <= absolute + relative |want|, NaN never; else fails naming the first and the worst element. */
void check_close_f32(const char *what, const float *got, const double *want, size_t n, double absolute, double relative);
void check_close(const char *what, double got, double want, double absolute, double relative);
void check_str(Str got, const char *want, size_t want_len);

/* LETHE_TEST_DATA/relative (default ../shared/relative). Skips the running test with a reason if it is not there. The result stays valid. */
const char *test_data(const char *relative);
/* The device that tests of models run on: LETHE_TEST_DEVICE, "cpu" where it is not set. */
const char *test_device(void);
/* Ends the running test as skipped; prints the reason. */
void test_skip(const char *reason) __attribute__((noreturn));
/* A fresh folder under $TMPDIR, removed with all it holds when the program ends. The result stays valid. */
const char *test_folder(void);
/* Writes a file into a folder (made if needed), path back; stays valid. */
const char *test_file(const char *folder, const char *name, const void *data, size_t bytes);

/* Repeatable test numbers: SplitMix64 from a seed that stands in the test. */
typedef struct TestRandom {
    uint64_t state;
} TestRandom;
uint64_t test_random(TestRandom *r);
double test_uniform(TestRandom *r, double low, double high);
double test_normal(TestRandom *r);

/* cmocka_run_group_tests with Jansson's memory wired and the group named after the file. Use in main. */
#define TEST_MAIN(tests_array) test_main(__FILE__, (tests_array), sizeof(tests_array) / sizeof *(tests_array))
int test_main(const char *file, const struct CMUnitTest *tests, size_t n_test);

#endif
