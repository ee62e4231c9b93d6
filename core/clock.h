/* Time. */
#ifndef LETHE_CORE_CLOCK_H
#define LETHE_CORE_CLOCK_H

#include "core/strbuf.h"

double clock_s(void);      /* monotonic seconds from an arbitrary start */
double clock_epoch_s(void); /* seconds since 1970, UTC */
/* Local time as lm-eval writes it in file names: 2026-11-25T02:30:00.123456 with ":" as "-". */
void clock_stamp(StrBuf *out);

#endif
