/* Private to model/: the parts of reading config.json that have a file of their own. */
#ifndef LETHE_MODEL_CONFIG_READ_H
#define LETHE_MODEL_CONFIG_READ_H

#include "model/config.h"

enum { CONFIG_MAX_POSITION = 1 << 30 };

/* rope, from head_dim and max_position_embeddings, which are read before. */
Status config_read_rope(ModelConfig *cfg, const JsonAt *root);
/* sliding_window and full_attention, from arch and num_hidden_layers. */
Status config_read_window(ModelConfig *cfg, const JsonAt *root);

#endif
