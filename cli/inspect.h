/* What the files of lethe inspect share: pieces of the description of a checkpoint, each a member of a JSON object. */
#ifndef LETHE_CLI_INSPECT_H
#define LETHE_CLI_INSPECT_H

#include "cli/print.h"
#include "model/checkpoint.h"
#include "model/locate.h"

/* "dtypes": elements stored in each type. */
Status inspect_dtypes(json_t *out, const StFile *file, size_t n_file);
/* "files": their names with sizes in bytes. */
Status inspect_files(json_t *out, const char *folder);
Status inspect_warn(json_t *warnings, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "made": what its files say of how it was made, as the cells of results.tsv. */
Status inspect_origin(json_t *out, const char *folder);
/* The same of all of them, as a manifest to edit, on stdout. */
Status inspect_manifest(const char *const *argument, size_t n_argument);

/* All of an adapter. It is checked against its base where that is found; where not, the base is a warning. */
Status inspect_adapter(json_t *out, Arena *arena, const Located *place, const char *base);

#endif
