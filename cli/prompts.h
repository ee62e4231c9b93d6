/* The prompts of `lethe generate` as ids, from the command line or a file. */
#ifndef LETHE_CLI_PROMPTS_H
#define LETHE_CLI_PROMPTS_H

#include "model/tokenizer.h"

typedef struct Prompts {
    Ids ids;         /* all, one after the other */
    size_t *end;     /* [count]: where each ends */
    size_t count, cap;
} Prompts;
void prompts_release(Prompts *p);

/* The ids of prompt i. */
const int32_t *prompts_at(const Prompts *p, size_t i, int32_t *n);

/* With the special tokens that the tokenizer puts around a text. LT_E_INPUT for text that is not UTF-8, and for one that is empty then. */
Status prompts_add_text(Prompts *p, Encoder *e, Str text, const char *what);
/* FILE.json: [[...], ...]. */
Status prompts_read_ids(Prompts *p, const char *path);
/* FILE.jsonl: {"prompt": ...} a line. */
Status prompts_read_texts(Prompts *p, Encoder *e, const char *path);

#endif
