/* Private to model/: what is wrong with the tensors of a file, for one message: the first dozen in words, the rest as a number. */
#ifndef LETHE_MODEL_FINDINGS_H
#define LETHE_MODEL_FINDINGS_H

#include "model/params.h"
#include "model/safetensors.h"

typedef struct Findings {
    StrBuf text;
    size_t count;
} Findings;

void findings_init(Findings *f);
void findings_release(Findings *f);
/* Counts one more; true if it is to be put into words, which the caller then appends to the text. */
bool findings_next(Findings *f);
/* Closes the text: "...; and 3 more". */
Status findings_finish(Findings *f);
/* Compares a tensor (NULL: there is none) with the entry it is to fill, and notes what does not fit. */
void findings_compare(Findings *f, const ParamEntry *entry, const char *name, const StTensor *t);

#endif
