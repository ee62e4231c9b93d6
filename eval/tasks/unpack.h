/* The whole content of a file, unpacked: what a digest of the data is taken over, whichever way the file is stored. */
#ifndef LETHE_EVAL_TASKS_UNPACK_H
#define LETHE_EVAL_TASKS_UNPACK_H

#include "core/strbuf.h"

/* Appends the content of a plain, gzip or zstd file, told apart by the first bytes. LT_E_INPUT if the file cannot be read, if its compressed
 * data is damaged or cut short, or if it holds more than `max` bytes. */
Status unpack_file(StrBuf *out, const char *path, size_t max);

#endif
