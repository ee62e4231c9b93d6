/* The name that somebody probably meant: for "did you mean" in messages. */
#ifndef LETHE_CORE_NEAREST_H
#define LETHE_CORE_NEAREST_H

#include "core/strbuf.h"

/* Nearest of `names` (NULL-terminated) by edit distance, or NULL if none is near. Letter case and the kind of dash do not count. */
const char *nearest_name(Str word, const char *const *names);

#endif
