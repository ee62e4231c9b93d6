/* Made-up rows of the four tasks in the form of the upstream files, one file's text at a time. Some rows are nasty on purpose: brackets that nest,
 * double spaces, letters outside ASCII, blanks before punctuation, three and five choices, numbers with commas. */
#ifndef LETHE_TESTS_WORLD_ROWS_H
#define LETHE_TESTS_WORLD_ROWS_H

#include "tests/world/language.h"

/* Appends n lines. `split` is what HellaSwag's rows say of themselves. */
Status hellaswag_rows(StrBuf *out, Language *l, int n, const char *split);
/* columns: as Hugging Face's copy stores it, else as the upstream file does. */
typedef enum ArcForm { ARC_RAW, ARC_COLUMNS } ArcForm;
Status arc_rows(StrBuf *out, Language *l, int n, ArcForm form);
Status winogrande_rows(StrBuf *out, Language *l, int n);
Status gsm8k_rows(StrBuf *out, Language *l, int n);

#endif
