#include "kernels/cpu/memory.h"

#include "core/strbuf.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct Room {
    uint64_t free, total;
} Room;

/* The number behind `key` ("" where the file is nothing but one). False: no such file or key, or no number, such as a limit of "max". */
static bool read_number(const char *path, const char *key, uint64_t *out)
{
    FILE *file = fopen(path, "r");
    const size_t n = strlen(key);
    char line[128];
    bool found = false;

    if (file == NULL)
        return false;
    while (!found && fgets(line, sizeof line, file) != NULL)
        found = strncmp(line, key, n) == 0 && sscanf(line + n, "%" SCNu64, out) == 1;
    fclose(file);
    return found;
}

static bool read_from(StrBuf *path, const char *file, const char *key, uint64_t *out)
{
    const size_t n = path->len;

    strbuf_add_text(path, file);
    const bool found = !path->failed && read_number(path->data, key, out);
    if (!path->failed)
        path->data[path->len = n] = '\0';
    return found;
}

/* What a group holds counts its page cache; the part of that which nobody has asked for again is as good as free. */
static void narrow_by_group(StrBuf *folder, Room *room)
{
    uint64_t most, held, cached = 0;

    if (!read_from(folder, "/memory.max", "", &most) || !read_from(folder, "/memory.current", "", &held))
        return;
    (void)read_from(folder, "/memory.stat", "inactive_file ", &cached);
    held -= cached < held ? cached : held;
    const uint64_t left = most > held ? most - held : 0;
    room->free = left < room->free ? left : room->free;
    room->total = most < room->total ? most : room->total;
}

/* Appends the process's group, "/a/b"; nothing where there is no cgroup v2. */
static void add_group(StrBuf *folder, const char *path)
{
    FILE *file = fopen(path, "r");
    char line[4096];

    if (file == NULL)
        return;
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "0::", 3) == 0)
            strbuf_add(folder, line + 3, strcspn(line, "\n") - 3);
    fclose(file);
}

/* Every group up to the root limits what is below it. The first is that of a container, if this is one, whose own limit lies at its root. */
static Status narrow_by_groups(const char *root, Room *room)
{
    StrBuf folder, path;

    strbuf_init(&folder);
    strbuf_init(&path);
    strbuf_addf(&path, "%s/proc/self/cgroup", root);
    strbuf_addf(&folder, "%s/sys/fs/cgroup", root);
    const size_t top = folder.len;
    if (!path.failed)
        add_group(&folder, path.data);
    while (!folder.failed) {
        narrow_by_group(&folder, room);
        if (folder.len <= top)
            break;
        while (folder.data[--folder.len] != '/')
            continue;
        folder.data[folder.len] = '\0';
    }
    const Status st = path.failed ? strbuf_status(&path) : strbuf_status(&folder);
    strbuf_release(&folder);
    strbuf_release(&path);
    return st;
}

Status memory_of_process(const char *root, size_t *free_bytes, size_t *total_bytes)
{
    uint64_t free_kb, total_kb;
    StrBuf path;
    Status st;

    strbuf_init(&path);
    strbuf_addf(&path, "%s/proc/meminfo", root);
    TRY_GOTO(strbuf_status(&path), st, done);
    if (!read_number(path.data, "MemTotal:", &total_kb) || !read_number(path.data, "MemAvailable:", &free_kb)) {
        st = FAIL(LT_E_DEVICE, "'%s': expected MemTotal and MemAvailable, found at most one of them", path.data);
        goto done;
    }
    Room room = {free_kb * 1024, total_kb * 1024};
    TRY_GOTO(narrow_by_groups(root, &room), st, done);
    *free_bytes = (size_t)room.free;
    *total_bytes = (size_t)room.total;
done:
    strbuf_release(&path);
    return st;
}
