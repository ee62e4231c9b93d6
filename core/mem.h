/* Host memory: overflow-checked sizes, one allocation wrapper, a bump arena for parsed data.
 * Every allocation of Lethe goes through here, Jansson's too, so a test can make the n-th one fail. */
#ifndef LETHE_CORE_MEM_H
#define LETHE_CORE_MEM_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

/* *out = a * b or a + b. False, and *out untouched, if it does not fit. */
bool mem_mul(size_t a, size_t b, size_t *out);
bool mem_add(size_t a, size_t b, size_t *out);

/* count * size bytes, zeroed; aligned for any type, to 64 bytes from 256 bytes on. NULL with the text recorded (LT_E_NOMEM) on overflow or exhaustion.
 * count 0 gives a valid pointer. Free with mem_free. */
void *mem_take(size_t count, size_t size);
/* Resizes what mem_take gave (or NULL); new bytes are NOT zeroed. On failure the old block stays valid. */
void *mem_resize(void *block, size_t count, size_t size);
void mem_free(void *block);

/* TRY(MEM_NEW(p, n)): p becomes n zeroed objects of its type. */
#define MEM_NEW(pointer, count) (((pointer) = mem_take((count), sizeof *(pointer))) != NULL ? LT_OK : LT_E_NOMEM)

/* Makes room for `need` objects in a growing array (doubling): TRY(MEM_GROW(items, cap, need)). */
#define MEM_GROW(pointer, cap, need) mem_grow((void **)&(pointer), &(cap), (need), sizeof *(pointer))
Status mem_grow(void **block, size_t *cap, size_t need, size_t size);

/* A copy of n bytes plus a NUL. */
char *mem_strndup(const char *text, size_t n);
char *mem_strdup(const char *text);

/* Tests only: the n-th allocation from now (1 = the next) fails, once; 0 switches it off. Counts all threads. */
void mem_fail_at(uint64_t n);
/* Allocations made since the program started, and blocks still held: a test for leaks and for the range of n above. */
uint64_t mem_count(void);
int64_t mem_held(void);

/* Bump arena: many small blocks freed together. Zero-initialise with arena_init; blocks are zeroed. */
typedef struct Arena {
    struct ArenaChunk *chunk; /* newest first */
    size_t chunk_bytes;       /* size of the next ordinary chunk */
} Arena;

void arena_init(Arena *arena);
void arena_release(Arena *arena);
/* count * size zeroed bytes aligned for any type. NULL with the text recorded. */
void *arena_take(Arena *arena, size_t count, size_t size);
#define ARENA_NEW(arena, pointer, count)                                                                               \
    (((pointer) = arena_take((arena), (count), sizeof *(pointer))) != NULL ? LT_OK : LT_E_NOMEM)
/* A copy of n bytes plus a NUL. */
char *arena_strndup(Arena *arena, const char *text, size_t n);

#endif
