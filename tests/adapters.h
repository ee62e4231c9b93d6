/* Adapters for tests: PEFT folders written from made-up factors, golden ones opened, and the model that merging by hand gives. */
#ifndef LETHE_TESTS_ADAPTERS_H
#define LETHE_TESTS_ADAPTERS_H

#include "model/adapter.h"

/* Writes adapter_config.json with this text. */
const char *adapter_config_file(const char *folder, const char *json);

/* The tensors of an adapter as the writer takes them, for tests that change one before writing. */
typedef struct AdapterTensors {
    StWrite item[128];
    char name[128][128];
    size_t count;
} AdapterTensors;
/* Random factors, B included, for every entry of the list; kept until adapter_tensors_free. */
void adapter_tensors_random(AdapterTensors *t, const ParamList *params, uint64_t seed);
void adapter_tensors_free(AdapterTensors *t);
StWrite *adapter_tensors_find(AdapterTensors *t, const char *name);
void adapter_tensors_write(const AdapterTensors *t, const char *folder);

/* A folder with this configuration and random factors to match. */
const char *adapter_random(const char *json, const ModelConfig *base, uint64_t seed);
/* Opens, loads and closes the folder. */
Adapter *adapter_of(const Model *m, const char *folder);
/* Adds s B A to the weights of an F32 model on the CPU, in plain loops over the factors on the device. */
void adapter_merge_by_hand(Model *m, const Adapter *a);

#endif
