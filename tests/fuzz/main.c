/* seeds FOLDER: writes the seeds of every target into FOLDER/<name>/, for libFuzzer to start from. */
#include "core/file.h"
#include "core/json.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>

static Status write_seeds(const FuzzTarget *target, const char *folder)
{
    char path[1024];
    SeedList seeds = {0};
    Status st;

    snprintf(path, sizeof path, "%s/%s", folder, target->name);
    st = dir_make(path);
    target->seeds(&seeds);
    for (size_t i = 0; st == LT_OK && i < seeds.count; i++) {
        char name[32];

        snprintf(name, sizeof name, "seed%03zu", i);
        fuzz_put(path, name, strbuf_str(&seeds.item[i]));
    }
    seed_release(&seeds);
    return st;
}

int main(int argc, char **argv)
{
    Status st = LT_OK;

    json_use_mem();
    if (argc != 2) {
        fprintf(stderr, "usage: seeds FOLDER\n");
        return 2;
    }
    for (const FuzzTarget *t = fuzz_targets; st == LT_OK && t->name != NULL; t++)
        st = write_seeds(t, argv[1]);
    if (st != LT_OK)
        fprintf(stderr, "%s\n", status_text());
    return st != LT_OK;
}
