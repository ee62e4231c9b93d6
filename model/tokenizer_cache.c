#include "model/tokenizer_private.h"

/* Half full at most. Key and id offsets stay far inside 32 bits. */
enum { N_SLOT = 1 << 16, COUNT_MAX = N_SLOT / 2 };

Status cache_init(PieceCache *c)
{
    return MEM_NEW(c->slot, N_SLOT);
}

void cache_release(PieceCache *c)
{
    mem_free(c->slot);
    mem_free(c->key);
    mem_free(c->id);
}

static uint64_t load_bytes(const char *p, size_t n)
{
    uint64_t word = 0;

    memcpy(&word, p, n);
    return word;
}

/* Multiply and fold, eight bytes a time; the last word overlaps its predecessor instead of being padded. */
uint32_t cache_hash(Str piece)
{
    const uint64_t factor = 0x9e3779b97f4a7c15u;
    const char *p = piece.data;
    const size_t n = piece.len;
    uint64_t h = n * factor;

    if (n >= 8) {
        for (size_t i = 0; i + 8 < n; i += 8)
            h = (h ^ load_bytes(p + i, 8)) * factor, h ^= h >> 29;
        h ^= load_bytes(p + n - 8, 8);
    } else if (n >= 4) {
        h ^= load_bytes(p, 4) << 32 | load_bytes(p + n - 4, 4);
    } else if (n > 0) {
        h ^= (uint64_t)(uint8_t)p[0] << 16 | (uint64_t)(uint8_t)p[n / 2] << 8 | (uint8_t)p[n - 1];
    }
    h *= factor;
    h ^= h >> 32;
    return (uint32_t)h | 1; /* never the mark of a free slot */
}

static CacheSlot *find_slot(const PieceCache *c, Str piece, uint32_t hash)
{
    for (size_t i = hash >> 8;; i++) {
        CacheSlot *slot = &c->slot[i % N_SLOT];
        if (slot->hash == 0)
            return slot;
        if (slot->hash == hash && slot->key_len == piece.len && memcmp(c->key + slot->key, piece.data, piece.len) == 0)
            return slot;
    }
}

const CacheSlot *cache_find(const PieceCache *c, Str piece, uint32_t hash)
{
    const CacheSlot *slot = find_slot(c, piece, hash);

    return slot->hash == 0 ? NULL : slot;
}

Status cache_put(PieceCache *c, Str piece, uint32_t hash, const int32_t *id, size_t n)
{
    if (c->count == COUNT_MAX) {
        memset(c->slot, 0, N_SLOT * sizeof *c->slot);
        c->count = c->key_len = c->n_id = 0;
    }
    TRY(MEM_GROW(c->key, c->key_cap, c->key_len + piece.len));
    TRY(MEM_GROW(c->id, c->id_cap, c->n_id + n));
    memcpy(c->key + c->key_len, piece.data, piece.len);
    if (n > 0) /* a piece may leave nothing, and `id` be NULL then */
        memcpy(c->id + c->n_id, id, n * sizeof *id);
    *find_slot(c, piece, hash) = (CacheSlot){hash, (uint32_t)c->key_len, (uint32_t)c->n_id, (uint16_t)piece.len, (uint16_t)n};
    c->key_len += piece.len;
    c->n_id += n;
    c->count++;
    return LT_OK;
}
