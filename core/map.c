#include "core/map.h"

enum { FIRST_SLOTS = 16 };

/* The hash is kept so that growing never touches the keys, and most unequal keys are told apart without reading them. */
typedef struct MapEntry {
    Str key;
    uint64_t hash;
    int64_t value;
} MapEntry;

/* FNV-1a, with a final mix (MurmurHash3's) because the slot index takes the low bits only. */
static uint64_t hash_key(Str key)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < key.len; i++)
        h = (h ^ (uint8_t)key.data[i]) * 0x100000001b3u;
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
    return h ^ (h >> 33);
}

/* The slot that holds the key, or the free one where it belongs. There always is a free slot: load stays below 3/4. */
static size_t find_slot(const Map *m, Str key, uint64_t hash)
{
    const size_t mask = m->slot_cap - 1;
    size_t at = (size_t)hash & mask;
    for (; m->slot[at] != 0; at = (at + 1) & mask) {
        const MapEntry *e = &m->entry[m->slot[at] - 1];
        if (e->hash == hash && str_equal(e->key, key))
            break;
    }
    return at;
}

static Status grow_slots(Map *m)
{
    const size_t cap = m->slot_cap == 0 ? FIRST_SLOTS : m->slot_cap * 2;
    uint32_t *slot;

    TRY(MEM_NEW(slot, cap));
    for (size_t i = 0; i < m->count; i++) {
        size_t at = (size_t)m->entry[i].hash & (cap - 1);
        while (slot[at] != 0)
            at = (at + 1) & (cap - 1);
        slot[at] = (uint32_t)(i + 1);
    }
    mem_free(m->slot);
    m->slot = slot;
    m->slot_cap = cap;
    return LT_OK;
}

void map_init(Map *m)
{
    *m = (Map){0};
    arena_init(&m->keys);
}

void map_release(Map *m)
{
    mem_free(m->entry);
    mem_free(m->slot);
    arena_release(&m->keys);
    *m = (Map){0};
}

Status map_put(Map *m, Str key, int64_t value, bool *fresh)
{
    const uint64_t hash = hash_key(key);

    if (m->count + 1 > m->slot_cap / 4 * 3)
        TRY(grow_slots(m));
    const size_t at = find_slot(m, key, hash);
    if (m->slot[at] != 0) {
        m->entry[m->slot[at] - 1].value = value;
        if (fresh != NULL)
            *fresh = false;
        return LT_OK;
    }

    if (m->count >= UINT32_MAX - 1)
        return FAIL(LT_E_NOMEM, "a map cannot hold more than %zu keys", m->count);
    TRY(MEM_GROW(m->entry, m->entry_cap, m->count + 1));
    const char *copy = arena_strndup(&m->keys, key.data, key.len);
    if (copy == NULL)
        return LT_E_NOMEM;
    m->entry[m->count] = (MapEntry){.key = {copy, key.len}, .hash = hash, .value = value};
    m->slot[at] = (uint32_t)++m->count;
    if (fresh != NULL)
        *fresh = true;
    return LT_OK;
}

bool map_get(const Map *m, Str key, int64_t *value)
{
    if (m->count == 0)
        return false;
    const size_t at = find_slot(m, key, hash_key(key));
    if (m->slot[at] == 0)
        return false;
    *value = m->entry[m->slot[at] - 1].value;
    return true;
}

Str map_key(const Map *m, size_t i)
{
    BUG_IF(i >= m->count);
    return m->entry[i].key;
}

int64_t map_value(const Map *m, size_t i)
{
    BUG_IF(i >= m->count);
    return m->entry[i].value;
}
