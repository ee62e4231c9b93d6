/* The made-up world: a small invented language, benchmark files written in it, a tokenizer trained on it and a random model. Tests and the pocket
 * study run on it without anyone's data. The same seed gives the same bytes. */
#ifndef LETHE_TESTS_WORLD_WORLD_H
#define LETHE_TESTS_WORLD_WORLD_H

#include "core/status.h"

#include <stdint.h>

enum { WORLD_MAX_LENGTH = 1024 };

/* Writes
 *   FOLDER/data/hellaswag/      hellaswag_train.jsonl, hellaswag_val.jsonl
 *   FOLDER/data/arc_challenge/  ARC-Challenge-Train.jsonl, ARC-Challenge-Test.jsonl (upstream form), validation.jsonl (Hugging Face's)
 *   FOLDER/data/winogrande/     train_xl.jsonl (with rows of dev among them), dev.jsonl
 *   FOLDER/data/gsm8k/          train.jsonl, test.jsonl
 *   FOLDER/model/               config.json, model.safetensors (F32 Llama), tokenizer.json, tokenizer_config.json */
Status world_make(const char *folder, uint64_t seed);

/* Parts of it: without the model's weights, which need a device; the tokenizer alone, trained on the data's training rows. */
Status world_make_data(const char *folder, uint64_t seed);
Status world_make_tokenizer(const char *folder);
Status world_make_model(const char *folder, uint64_t seed);

#endif
