#include "core/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Small blocks, of which a parsed file makes hundreds of thousands, are aligned for any type; larger ones for vectors and cache lines. */
enum { SMALL_ALIGNMENT = 16, ALIGNMENT = 64, SMALL_BYTES = 256 };

/* In front of every block: its size, so that a resize knows what to copy, and how far it lies behind what malloc gave. */
typedef struct Header {
    size_t bytes, shift;
} Header;
_Static_assert(sizeof(Header) == SMALL_ALIGNMENT && SMALL_ALIGNMENT % _Alignof(max_align_t) == 0, "a header keeps malloc's alignment");

static Header *header_of(void *block) { return (Header *)block - 1; }

static _Atomic uint64_t n_taken;
static _Atomic int64_t n_held;
static _Atomic uint64_t fail_at; /* 0: off; otherwise the value n_taken has at the allocation that fails */

bool mem_mul(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }

bool mem_add(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }

enum Content { UNDEFINED, ZEROED };

/* Fresh memory behind a header; NULL with the text recorded. A large block that calloc gets from the system is zero already. */
static void *take_block(size_t count, size_t size, enum Content content)
{
    const uint64_t number = atomic_fetch_add(&n_taken, 1) + 1;
    size_t bytes, whole, shift = sizeof(Header);
    char *raw = NULL;

    if (!mem_mul(count, size, &bytes) || !mem_add(bytes, sizeof(Header) + ALIGNMENT, &whole)) {
        (void)FAIL(LT_E_NOMEM, "out of memory: %zu x %zu bytes do not fit into the address space", count, size);
        return NULL;
    }
    if (bytes < SMALL_BYTES)
        whole = bytes + sizeof(Header);
    if (atomic_load(&fail_at) != number)
        raw = content == ZEROED ? calloc(1, whole) : malloc(whole);
    if (raw == NULL) {
        (void)FAIL(LT_E_NOMEM, "out of memory: no %zu bytes to be had", bytes);
        return NULL;
    }
    if (bytes >= SMALL_BYTES)
        shift += ALIGNMENT - 1 - ((uintptr_t)raw + sizeof(Header) + ALIGNMENT - 1) % ALIGNMENT;
    *header_of(raw + shift) = (Header){bytes, shift};
    atomic_fetch_add(&n_held, 1);
    return raw + shift;
}

void *mem_take(size_t count, size_t size)
{
    return take_block(count, size, ZEROED);
}

void *mem_resize(void *old, size_t count, size_t size)
{
    void *block = take_block(count, size, UNDEFINED);

    if (block == NULL)
        return NULL;
    if (old != NULL) {
        const size_t old_bytes = header_of(old)->bytes, new_bytes = header_of(block)->bytes;

        memcpy(block, old, old_bytes < new_bytes ? old_bytes : new_bytes);
        mem_free(old);
    }
    return block;
}

void mem_free(void *block)
{
    if (block == NULL)
        return;
    atomic_fetch_sub(&n_held, 1);
    free((char *)block - header_of(block)->shift);
}

Status mem_grow(void **block, size_t *cap, size_t need, size_t size)
{
    size_t wanted = *cap < 8 ? 8 : *cap;
    void *grown;

    if (need <= *cap)
        return LT_OK;
    while (wanted < need)
        if (!mem_mul(wanted, 2, &wanted)) {
            wanted = need;
            break;
        }
    grown = mem_resize(*block, wanted, size);
    if (grown == NULL)
        return LT_E_NOMEM;
    *block = grown;
    *cap = wanted;
    return LT_OK;
}

char *mem_strndup(const char *text, size_t n)
{
    char *copy;

    if (n == SIZE_MAX || (copy = mem_take(n + 1, 1)) == NULL)
        return NULL;
    memcpy(copy, text, n);
    return copy;
}

char *mem_strdup(const char *text) { return mem_strndup(text, strlen(text)); }

void mem_fail_at(uint64_t n) { atomic_store(&fail_at, n == 0 ? 0 : atomic_load(&n_taken) + n); }

uint64_t mem_count(void) { return atomic_load(&n_taken); }

int64_t mem_held(void) { return atomic_load(&n_held); }

/* ---- arena ---- */

typedef struct ArenaChunk {
    struct ArenaChunk *next;
    size_t used, bytes;
    _Alignas(max_align_t) char data[];
} ArenaChunk;

enum { FIRST_CHUNK = 4096, LARGEST_CHUNK = 1 << 20 };

void arena_init(Arena *arena) { *arena = (Arena){NULL, FIRST_CHUNK}; }

void arena_release(Arena *arena)
{
    while (arena->chunk != NULL) {
        ArenaChunk *chunk = arena->chunk;

        arena->chunk = chunk->next;
        mem_free(chunk);
    }
    arena_init(arena);
}

/* A chunk with room for `bytes`. Large blocks get a chunk of their own size. */
static ArenaChunk *arena_chunk(Arena *arena, size_t bytes)
{
    const size_t room = bytes > arena->chunk_bytes ? bytes : arena->chunk_bytes;
    size_t whole;
    ArenaChunk *chunk;

    if (!mem_add(room, sizeof *chunk, &whole)) {
        (void)FAIL(LT_E_NOMEM, "out of memory: %zu bytes do not fit into the address space", bytes);
        return NULL;
    }
    chunk = mem_take(1, whole);
    if (chunk == NULL)
        return NULL;
    chunk->bytes = room;
    chunk->next = arena->chunk;
    arena->chunk = chunk;
    if (arena->chunk_bytes < LARGEST_CHUNK)
        arena->chunk_bytes *= 2;
    return chunk;
}

void *arena_take(Arena *arena, size_t count, size_t size)
{
    const size_t align = _Alignof(max_align_t);
    ArenaChunk *chunk = arena->chunk;
    size_t bytes;
    char *block;

    if (!mem_mul(count, size, &bytes) || bytes > SIZE_MAX - align) {
        (void)FAIL(LT_E_NOMEM, "out of memory: %zu x %zu bytes do not fit into the address space", count, size);
        return NULL;
    }
    bytes = (bytes + align - 1) / align * align;
    if (chunk == NULL || chunk->bytes - chunk->used < bytes)
        chunk = arena_chunk(arena, bytes);
    if (chunk == NULL)
        return NULL;
    block = chunk->data + chunk->used;
    chunk->used += bytes;
    return block;
}

char *arena_strndup(Arena *arena, const char *text, size_t n)
{
    char *copy;

    if (n == SIZE_MAX || (copy = arena_take(arena, n + 1, 1)) == NULL)
        return NULL;
    if (n > 0)
        memcpy(copy, text, n);
    return copy;
}
