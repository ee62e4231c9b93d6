/* What libFuzzer calls beside the target; linked by `make fuzz` alone. */
#include "tests/fuzz/libfuzzer.h"

#include "core/json.h"
#include "core/log.h"
#include "tests/fuzz/fuzz.h"

/* Half of ASan's time would go into the stacks of every allocation and into 256 MB of freed blocks that push each other out of the caches. A
 * report that needs more is had by running its input again with ASAN_OPTIONS=malloc_context_size=30. */
const char *__asan_default_options(void) { return "malloc_context_size=4:quarantine_size_mb=8"; }

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    json_use_mem();
    log_set_level(LOG_QUIET);
    return 0;
}

/* Every other input is changed by libFuzzer's own means. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    uint64_t random = seed;

    return seed % 2 == 0 ? LLVMFuzzerMutate(data, size, max) : fuzz_mutate(data, size, max, (Str){"", 0}, &random);
}
