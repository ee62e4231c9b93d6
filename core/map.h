/* Hash map from byte string to int64. Keys are copied into the map's arena; insertion order is kept. */
#ifndef LETHE_CORE_MAP_H
#define LETHE_CORE_MAP_H

#include "core/strbuf.h"

typedef struct Map {
    struct MapEntry *entry; /* in insertion order */
    uint32_t *slot;         /* open addressing: entry index + 1, 0 = free */
    size_t count, entry_cap, slot_cap;
    Arena keys;
} Map;

void map_init(Map *m);
void map_release(Map *m);
/* Adds or replaces. *fresh (may be NULL) says whether the key is new. */
Status map_put(Map *m, Str key, int64_t value, bool *fresh);
bool map_get(const Map *m, Str key, int64_t *value);
/* The i-th key inserted, 0 <= i < count. */
Str map_key(const Map *m, size_t i);
int64_t map_value(const Map *m, size_t i);

#endif
