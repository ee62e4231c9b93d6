/* safetensors files, single and sharded: strict reader, atomic writer.
 *
 * Layout: u64 little-endian N; N bytes of JSON beginning with '{', padded with spaces; then the data section. An entry:
 * {"dtype": "F32", "shape": [..], "data_offsets": [begin, end)} with offsets into the data section; "__metadata__": string to string.
 * Refused, each with file, tensor, expected and found: N above 100,000,000 or beyond the file; anything but '{' first; duplicate keys;
 * offsets or dimensions that are not plain integers; dimensions above 2^48, rank above 8; end - begin != product x size; holes, overlaps, a
 * data section that is not exactly tiled; unknown dtypes; NUL in names or empty names; more than a million tensors. */
#ifndef LETHE_MODEL_SAFETENSORS_H
#define LETHE_MODEL_SAFETENSORS_H

#include "core/file.h"
#include "core/map.h"
#include "core/hash.h"
#include "kernels/tensor.h"

enum { ST_MAX_RANK = 8 };

typedef struct StTensor {
    Str name;
    const char *dtype; /* "F32", "BF16", ... as in the file, one of our constants */
    int rank;
    int64_t shape[ST_MAX_RANK];
    int64_t count;      /* elements */
    uint64_t begin, end; /* in the data section */
} StTensor;

/* One open file. */
typedef struct StFile {
    char *path; /* from mem_strdup */
    int fd;     /* -1: only the header was parsed */
    FileId id;
    uint64_t data_start, file_bytes;
    StTensor *tensor; /* in order of begin */
    size_t n_tensor;
    Map metadata_key; /* key -> index of value; values in metadata_value */
    char **metadata_value;
    size_t n_metadata;
    Arena memory;
} StFile;

/* Pure: checks the header text against the size of the data section, fills tensor and metadata of an StFile that is zero but for path
 * and fd. st_close releases it, after a failure too. */
Status st_parse_header(StFile *f, Str header, uint64_t data_bytes);
Status st_open(StFile *f, const char *path);
void st_close(StFile *f);
/* Reads bytes [from, from + bytes) of the tensor's data. */
Status st_read(const StFile *f, const StTensor *t, uint64_t from, void *out, size_t bytes);
/* LT_F32, LT_BF16, LT_F16, LT_F64, LT_I32; false for what Lethe does not compute with. */
bool st_dtype(const StTensor *t, DType *out);
/* "F32", ... for the same five; NULL for other dtypes. */
const char *st_dtype_name(DType dtype);

/* All tensors of a model folder: model.safetensors, or the shards of model.safetensors.index.json (whose names must be plain file names
 * and whose map must agree with what the shards hold). Folders that only hold pickle, .distcp, DeepSpeed or Megatron weights are refused
 * with the conversion command. */
typedef struct StSet {
    StFile *file;
    size_t n_file;
    Map by_name; /* tensor name -> file << 32 | index */
} StSet;
Status st_set_open(StSet *set, const char *folder);
void st_set_close(StSet *set);
/* LT_E_INPUT with the format and its conversion command if a folder without safetensors holds pickle, .distcp, DeepSpeed or Megatron
 * weights. */
Status st_refuse_foreign(const char *folder);
/* NULL if there is none. */
const StTensor *st_set_find(const StSet *set, Str name, const StFile **file);

/* Writing: tensors in the given order (the writer sorts by dtype size, then name, as the reference does). Data is host memory, contiguous. */
typedef struct StWrite {
    const char *name, *dtype;
    int rank;
    int64_t shape[ST_MAX_RANK];
    const void *data;
} StWrite;
Status st_write(const char *path, const StWrite *tensor, size_t n_tensor, const char *const metadata[][2], size_t n_metadata);

#endif
