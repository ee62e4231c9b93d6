/* The ids that end a text: config.json's, and those of generation_config.json, where models that were taught to answer list more of them. */
#ifndef LETHE_MODEL_EOS_H
#define LETHE_MODEL_EOS_H

#include "model/config.h"

typedef struct EosIds {
    int32_t id[2 * CONFIG_MAX_EOS];
    int n;
} EosIds;

/* Either file's count, so a model ends where either says. LT_E_INPUT for a generation_config.json of another form; that there is none is fine. */
Status eos_load(EosIds *out, const ModelConfig *cfg, const char *folder);

#endif
