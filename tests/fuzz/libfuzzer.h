/* libFuzzer's interface and ASan's, which have no headers of their own. */
#ifndef LETHE_TESTS_FUZZ_LIBFUZZER_H
#define LETHE_TESTS_FUZZ_LIBFUZZER_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
const char *__asan_default_options(void);

#endif
