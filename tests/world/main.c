/* world OUT [--seed N]: writes the made-up world. */
#include "core/json.h"
#include "tests/world/world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static bool read_seed(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *text != '-';
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    const bool plain = argc == 2, seeded = argc == 4 && strcmp(argv[2], "--seed") == 0 && read_seed(argv[3], &seed);
    if ((!plain && !seeded) || argv[1][0] == '-') {
        fprintf(stderr, "usage: world OUT [--seed N]\n");
        return 2;
    }
    json_use_mem();
    const Status st = world_make(argv[1], seed);
    if (st != LT_OK)
        fprintf(stderr, "world: %s\n", status_text());
    return status_exit_code(st);
}
