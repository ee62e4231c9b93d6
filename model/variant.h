/* What a checkpoint argument stands for: a model, or an adapter on its base. Opened without reading weights, then loaded, the adapter either on
 * top of the base or merged into it.
 *
 * A base stays in memory on a shelf of one, so that consecutive adapters of a base find it there. */
#ifndef LETHE_MODEL_VARIANT_H
#define LETHE_MODEL_VARIANT_H

#include "model/adapter.h"
#include "model/locate.h"

typedef enum AdapterUse { ADAPTER_ON_TOP, ADAPTER_MERGED } AdapterUse;

/* Zero-initialise. */
typedef struct ModelShelf {
    Model *model;
    Digest files; /* what tells the model's files from any others */
} ModelShelf;
void shelf_clear(ModelShelf *shelf);

typedef struct Variant {
    Arena memory;
    Located place, base;     /* base: where the weights are; place itself for a model */
    Checkpoint *checkpoint;  /* of the base */
    AdapterFolder *folder;   /* NULL: a model */
    Model *model;            /* NULL until loaded; on the shelf, or the variant's own if merged */
    Adapter *adapter;        /* NULL: none, or merged */
    bool owns_model;
} Variant;

/* base: --base, may be NULL. Checks the base's tensor index and, for an adapter, that it fits the base; *unknown counts tensors that the base's
 * architecture has no place for. A base of another name than the adapter's own is a warning. LT_E_INPUT otherwise, as locate_checkpoint,
 * checkpoint_check and adapter_folder_params. */
Status variant_open(Variant *v, const char *argument, const char *base, size_t *unknown);
/* LT_E_INPUT also for an adapter that changes nothing. */
Status variant_load(Variant *v, ModelShelf *shelf, Device *dev, const LoadOptions *options, AdapterUse use);
/* A zeroed struct is allowed. */
void variant_close(Variant *v);

#endif
