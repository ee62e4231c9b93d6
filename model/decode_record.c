#include "model/decode_record.h"

#include "core/mem.h"

#include <string.h>

static bool same_key(const PassKey *a, const PassKey *b)
{
    return a->n_sequence == b->n_sequence && a->n_page == b->n_page && a->n_group == b->n_group && a->adapter == b->adapter &&
           a->packed == b->packed && (a->n_group == 0 || memcmp(a->group, b->group, (size_t)a->n_group * sizeof *a->group) == 0);
}

static void clear(PassRecords *r, PassRecord *p)
{
    device_record_free(r->dev, p->record);
    mem_free((void *)p->key.group);
    *p = (PassRecord){0};
}

void pass_records_release(PassRecords *r)
{
    for (int i = 0; i < r->n; i++)
        clear(r, &r->pass[i]);
    r->n = 0;
}

static PassRecord *oldest(PassRecords *r)
{
    PassRecord *p = &r->pass[0];

    for (int i = 1; i < r->n; i++)
        if (r->pass[i].used < p->used)
            p = &r->pass[i];
    return p;
}

Status pass_records_find(PassRecords *r, const PassKey *key, PassRecord **out, bool *is_new)
{
    PrefixGroup *group;
    PassRecord *p;

    for (int i = 0; i < r->n; i++)
        if (same_key(&r->pass[i].key, key)) {
            r->pass[i].used = ++r->clock;
            *out = &r->pass[i];
            *is_new = false;
            return LT_OK;
        }
    TRY(MEM_NEW(group, (size_t)key->n_group));
    if (key->n_group > 0)
        memcpy(group, key->group, (size_t)key->n_group * sizeof *group);
    if (r->n < PASS_RECORDS)
        p = &r->pass[r->n++];
    else
        clear(r, p = oldest(r));
    *p = (PassRecord){.key = *key, .used = ++r->clock};
    p->key.group = group;
    *out = p;
    *is_new = true;
    return LT_OK;
}
