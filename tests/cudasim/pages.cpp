#include "tests/cudasim/pages.h"

#include "tests/cudasim/fault.h"
#include "tests/cudasim/memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* A page that the launch wrote: where it is, and two pages of copies. */
typedef struct Page {
    char *at, *before, *expected;
} Page;

/* Memory that can be written. */
typedef struct Open {
    char *begin;
    size_t bytes;
} Open;

enum { MAX_PAGE = 64 << 10 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the list of what is open */
static Page *pages;
static int n_page, page_cap;
static char *copies; /* 2 pages for each */
static Open *opened;
static int n_open, open_cap;
static bool tracking;

static size_t page_bytes(void)
{
    static const size_t bytes = (size_t)sysconf(_SC_PAGESIZE);

    return bytes;
}

/* Not memcpy: a page may hold bytes that AddressSanitizer guards, behind the end of a block. */
__attribute__((no_sanitize("address"))) static void copy_page(char *to, const char *from)
{
    for (size_t i = 0; i < page_bytes() / sizeof(uint64_t); i++)
        ((uint64_t *)to)[i] = ((const uint64_t *)from)[i];
}

void sim_pages_add(char *begin, size_t bytes)
{
    pthread_mutex_lock(&lock);
    if (n_open == open_cap) {
        open_cap = open_cap == 0 ? 1024 : 2 * open_cap;
        opened = (Open *)realloc(opened, (size_t)open_cap * sizeof *opened);
        if (opened == NULL)
            sim_stop("no memory for a list of %d open pages", open_cap);
    }
    opened[n_open++] = {begin, bytes};
    pthread_mutex_unlock(&lock);
}

void sim_pages_forget(char *begin, size_t bytes)
{
    int kept = 0;

    pthread_mutex_lock(&lock);
    for (int i = 0; i < n_open; i++)
        if (opened[i].begin < begin || opened[i].begin >= begin + bytes)
            opened[kept++] = opened[i];
    n_open = kept;
    pthread_mutex_unlock(&lock);
}

static int by_address(const void *a, const void *b)
{
    const uintptr_t x = (uintptr_t)((const Open *)a)->begin, y = (uintptr_t)((const Open *)b)->begin;

    return x < y ? -1 : x > y;
}

static void protect(char *begin, size_t bytes, int protection)
{
    if (mprotect(begin, bytes, protection) != 0)
        sim_stop("cannot change the protection of device memory");
}

/* Closes what is open, neighbours together. */
void sim_pages_begin(void)
{
    pthread_mutex_lock(&lock);
    if (n_open > 0)
        qsort(opened, (size_t)n_open, sizeof *opened, by_address);
    for (int i = 0, next; i < n_open; i = next) {
        char *end = opened[i].begin + opened[i].bytes;

        for (next = i + 1; next < n_open && opened[next].begin <= end; next++)
            if (opened[next].begin + opened[next].bytes > end)
                end = opened[next].begin + opened[next].bytes;
        protect(opened[i].begin, (size_t)(end - opened[i].begin), PROT_READ);
    }
    n_open = n_page = 0;
    pthread_mutex_unlock(&lock);
    tracking = true;
}

/* Called while a kernel stands still at its write, so allocating is as safe as anywhere. */
static void grow(void)
{
    const int cap = page_cap == 0 ? 1024 : 2 * page_cap;
    void *grown = mmap(NULL, (size_t)cap * 2 * page_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    pages = (Page *)realloc(pages, (size_t)cap * sizeof *pages);
    if (grown == MAP_FAILED || pages == NULL)
        sim_stop("no memory for copies of %d pages", cap);
    if (copies != NULL) {
        memcpy(grown, copies, (size_t)n_page * 2 * page_bytes());
        munmap(copies, (size_t)page_cap * 2 * page_bytes());
    }
    copies = (char *)grown;
    page_cap = cap;
    for (int i = 0; i < cap; i++) {
        pages[i].before = copies + (size_t)i * 2 * page_bytes();
        pages[i].expected = pages[i].before + page_bytes();
    }
}

static void keep(char *at)
{
    if (n_page == page_cap)
        grow();
    pages[n_page].at = at;
    copy_page(pages[n_page].before, at);
    copy_page(pages[n_page].expected, at);
    n_page++;
}

bool sim_pages_fault(void *p)
{
    char *const at = (char *)((uintptr_t)p / page_bytes() * page_bytes());
    SimBlock b;

    if (!sim_is_device(p) || !sim_block_nearest(p, &b) || at + page_bytes() <= b.base || at >= b.base + b.room)
        return false;
    if (tracking)
        keep(at);
    sim_pages_add(at, page_bytes());
    protect(at, page_bytes(), PROT_READ | PROT_WRITE);
    return true;
}

void sim_pages_expect(void)
{
    for (int i = 0; i < n_page; i++) {
        copy_page(pages[i].expected, pages[i].at);
        copy_page(pages[i].at, pages[i].before);
    }
}

[[noreturn]] static void stop_different(const Page *page, const char *now, const char *order)
{
    unsigned got, want;
    char where[200];
    size_t i = 0;

    while (memcmp(now + i, page->expected + i, sizeof got) == 0)
        i += sizeof got;
    memcpy(&got, now + i, sizeof got);
    memcpy(&want, page->expected + i, sizeof want);
    sim_describe(page->at + i, where, sizeof where);
    sim_stop("threads in %s order write 0x%08x, in ascending order 0x%08x, to %s", order, got, want, where);
}

void sim_pages_compare(const char *order, bool last)
{
    alignas(16) static char now[MAX_PAGE];

    for (int i = 0; i < n_page; i++) {
        copy_page(now, pages[i].at);
        if (memcmp(now, pages[i].expected, page_bytes()) != 0)
            stop_different(&pages[i], now, order);
        if (!last)
            copy_page(pages[i].at, pages[i].before);
    }
}

void sim_pages_end(void) { tracking = false; }
