/* What libFuzzer calls beside the target; linked by `make fuzz` alone. */
#include "tests/fuzz/libfuzzer.h"

#include "core/json.h"
#include "core/log.h"
#include "tests/fuzz/fuzz.h"

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
