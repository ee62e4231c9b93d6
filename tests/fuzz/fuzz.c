#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- seeds ---------------------------------------------------------------------------------------------------------------- */

void seed_add(SeedList *list, const void *data, size_t size)
{
    BUG_IF(MEM_GROW(list->item, list->cap, list->count + 1) != LT_OK);
    strbuf_init(&list->item[list->count]);
    strbuf_add(&list->item[list->count], data, size);
    BUG_IF(strbuf_status(&list->item[list->count++]) != LT_OK);
}

void seed_add_buf(SeedList *list, StrBuf *text)
{
    const Str all = strbuf_str(text);

    BUG_IF(strbuf_status(text) != LT_OK);
    seed_add(list, all.data, all.len);
    strbuf_release(text);
}

void seed_release(SeedList *list)
{
    for (size_t i = 0; i < list->count; i++)
        strbuf_release(&list->item[i]);
    mem_free(list->item);
    *list = (SeedList){0};
}

/* ---- what holds for every input ------------------------------------------------------------------------------------------- */

bool fuzz_succeeded(Status st)
{
    const bool silent = status_text()[0] == '\0';

    if (silent != (st == LT_OK))
        fprintf(stderr, "status %s with the text '%s'\n", status_name(st), status_text());
    BUG_IF(silent != (st == LT_OK));
    status_clear();
    return st == LT_OK;
}

bool fuzz_must(Status st)
{
    if (st != LT_OK && st != LT_E_NOMEM)
        fprintf(stderr, "refused what it had accepted: %s\n", status_text());
    BUG_IF(st != LT_OK && st != LT_E_NOMEM);
    return fuzz_succeeded(st);
}

/* ---- files ---------------------------------------------------------------------------------------------------------------- */

static int memory_file = -1;

static char *memory_path(void)
{
    static char path[64];

    if (memory_file < 0) {
        memory_file = memfd_create("fuzz", MFD_CLOEXEC);
        BUG_IF(memory_file < 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", memory_file);
    }
    return path;
}

const char *fuzz_file(Str content)
{
    const char *path = memory_path();

    BUG_IF(ftruncate(memory_file, 0) != 0);
    BUG_IF(pwrite(memory_file, content.data, content.len, 0) != (ssize_t)content.len);
    return path;
}

static char folders[8][512];
static size_t n_folder;

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

static void remove_folders(void)
{
    for (size_t i = 0; i < n_folder; i++)
        nftw(folders[i], remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_folder(void)
{
    const char *root = getenv("TMPDIR");
    char *path = folders[n_folder];

    BUG_IF(n_folder == sizeof folders / sizeof *folders);
    snprintf(path, sizeof folders[0], "%s/lethe-fuzz-XXXXXX", root != NULL && *root != '\0' ? root : "/tmp");
    BUG_IF(mkdtemp(path) == NULL);
    if (n_folder++ == 0)
        atexit(remove_folders);
    return path;
}

void fuzz_link(const char *folder, const char *name)
{
    char path[1024];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    BUG_IF(symlink(memory_path(), path) != 0);
}

void fuzz_put(const char *folder, const char *name, Str content)
{
    char path[1024];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "wb");
    BUG_IF(file == NULL || fwrite(content.data, 1, content.len, file) != content.len || fclose(file) != 0);
}
