/* Texts of config.json for tests: a small Llama of 2 layers, 32 wide, 4 heads, and what a test adds or leaves out. */
#ifndef LETHE_TESTS_CONFIG_TEXT_H
#define LETHE_TESTS_CONFIG_TEXT_H

#include "model/config.h"

/* Members up to the end of rope_scaling, which is left open for more; for a head size of 8. */
#define LONGROPE "\"rope_scaling\":{\"rope_type\":\"longrope\",\"short_factor\":[1,1.1,1.2,1.3],\"long_factor\":[1,2,4,8]"

/* Parses it without one key (NULL: whole) and with `more` members ("" or `"key":value,...`). */
Status config_text_parse(ModelConfig *cfg, const char *without, const char *more);

#endif
