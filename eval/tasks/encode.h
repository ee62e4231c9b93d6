/* Context and continuation as token ids, by lm-eval's rule: trailing white space of the context moves to the continuation; the whole is
 * encoded once and cut at the length of the encoded context. */
#ifndef LETHE_EVAL_TASKS_ENCODE_H
#define LETHE_EVAL_TASKS_ENCODE_H

#include "model/tokenizer.h"

typedef enum BosRule { BOS_AUTO /* as the tokenizer's post-processor does */, BOS_YES, BOS_NO } BosRule;

/* Appends ids of context + continuation to `ids` and gives how many belong to each. Empty context: one prefix token (bos, else eos), unless the
 * continuation begins with it. A text that already begins with the BOS text gets no second one. LT_E_INPUT, and `ids` as it was, where there is
 * nothing to read or nothing to score (lm-eval stops there too), and for BOS_YES with a tokenizer that names no BOS. */
Status encode_pair(Encoder *e, const Tokenizer *t, BosRule bos, Str context, Str continuation, Ids *ids, int32_t *n_context,
                   int32_t *n_continuation);

#endif
