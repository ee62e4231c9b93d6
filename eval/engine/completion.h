/* One completion as it grows: its ids, its text, and where it ends.
 *
 * It ends at once on an eos id, on a stop string in its text, or after max_new ids. The text is then cut as lm-eval cuts it: at the first place of
 * each stop string, one string after the other in the order of the list. Three cases the strings' text does not show: a stop string
 * that is the name of a special token ends at that token, which no text contains; an empty one ends after one token and cuts nothing; and where
 * the decoder still holds back what the last ids say, they are decoded by themselves, as lm-eval does. */
#ifndef LETHE_EVAL_ENGINE_COMPLETION_H
#define LETHE_EVAL_ENGINE_COMPLETION_H

#include "eval/engine/request.h"
#include "model/tokenizer.h"

/* What all completions of a model have in common. */
typedef struct EndRules {
    const Tokenizer *tokenizer; /* NULL: no text, and no stop strings */
    const int32_t *eos;
    int n_eos;
} EndRules;

typedef struct Completion {
    const EndRules *rules;
    const Sampling *sampling;
    Ids ids;
    float *lp; /* [ids.count] */
    size_t lp_cap;
    StreamDecoder *decoder;
    StrBuf text, tail;
    size_t longest_stop;
    Finish finish;
} Completion;

/* Close also after a failure; a zeroed struct is allowed there. */
Status completion_open(Completion *c, const EndRules *rules, const Sampling *sampling);
void completion_close(Completion *c);
/* Sets `finish` if that was the last one; then the text is whole and cut. */
Status completion_add(Completion *c, int32_t id, float lp);
/* The beginning of the text that will stay whatever comes: not what may be the start of a stop string. */
Str completion_settled(const Completion *c);

#endif
