/* The one step of HellaSwag that is worth testing on its own. */
#ifndef LETHE_EVAL_TASKS_HELLASWAG_H
#define LETHE_EVAL_TASKS_HELLASWAG_H

#include "core/strbuf.h"

/* Appends the text without WikiHow's marks: stripped; " [title]" becomes ". "; other brackets go; one pass halves double spaces. */
Status hellaswag_preprocess(StrBuf *out, Str text);

#endif
