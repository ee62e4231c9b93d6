/* Private to model/: decoding passes that the device has recorded.
 *
 * Passes with the same key make the same calls with the same tensors; only what lies in the tensors differs. The first pass of a key runs as it
 * is (ops may still want a larger workspace), the second one is recorded, and all others are replayed. */
#ifndef LETHE_MODEL_DECODE_RECORD_H
#define LETHE_MODEL_DECODE_RECORD_H

#include "model/adapter.h"
#include "model/packed.h"

/* n_page: columns of the page table that are handed on. group: n_group of them, of the caller. */
typedef struct PassKey {
    int32_t n_sequence, n_page, n_group;
    const PrefixGroup *group;
    const Adapter *adapter;
    const PackedWeights *packed;
} PassKey;

typedef struct PassRecord {
    PassKey key; /* with groups of its own */
    DeviceRecord *record; /* NULL: seen once */
    uint64_t used;        /* when, for throwing out the oldest */
} PassRecord;

/* A batch that shrinks to nothing goes through as many keys as it has sequences; each is worth keeping for the next batch. */
enum { PASS_RECORDS = 64 };

typedef struct PassRecords {
    Device *dev;
    PassRecord pass[PASS_RECORDS];
    int n;
    uint64_t clock;
} PassRecords;

/* All zero but for the device is a set without passes. */
void pass_records_release(PassRecords *r);
/* The pass of this key, or a new one in the place of the one not used for longest. Valid until the next call. */
Status pass_records_find(PassRecords *r, const PassKey *key, PassRecord **out, bool *is_new);

#endif
