/* The matrices of a checkpoint, a run of elements at a time: nobody holds a whole model.
 *
 * Values come from master.safetensors where it has the tensor: what training kept in F32 before it was rounded to the stored type. */
#ifndef LETHE_ANALYSIS_MATRIX_FOLDER_H
#define LETHE_ANALYSIS_MATRIX_FOLDER_H

#include "model/variant.h"

typedef struct MatrixFolder {
    Variant variant; /* an adapter's weights are those of its base */
    StFile master;   /* path NULL: none */
} MatrixFolder;

/* As variant_open, without loading. LT_E_INPUT also for masters that are not F32. */
Status matrix_folder_open(MatrixFolder *f, const char *argument, const char *base);
/* A zeroed struct is allowed. */
void matrix_folder_close(MatrixFolder *f);

typedef struct MatrixPlace {
    const StFile *file, *stored_file; /* of the values; of the model's own tensor */
    const StTensor *tensor;
    DType dtype, stored; /* of the values; of the model's own tensor, narrower where there are masters */
    int64_t rows, cols;
} MatrixPlace;

/* LT_E_INPUT for a tensor that is missing or is no matrix; name is that of param_name. */
Status matrix_folder_find(MatrixPlace *out, const MatrixFolder *f, Str name);

enum { MATRIX_RUN = 1 << 16 };
/* to[i] = element from + i, i < count <= MATRIX_RUN; raw: room for MATRIX_RUN floats. LT_E_INPUT names a NaN or infinity by row and column. */
Status matrix_read(float *to, const MatrixPlace *place, int64_t from, int64_t count, void *raw);

/* Adds the contents of the files that the values come from to what names a piece of work. */
Status matrix_place_digest(StrBuf *out, const MatrixPlace *place, FileHashMode mode);

#endif
