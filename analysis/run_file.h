/* OUT/run.json of `lethe spectrum`: what was asked, with what, written before the work starts and ended with how it went. A repeated command that finds
 * everything done does not touch it. */
#ifndef LETHE_ANALYSIS_RUN_FILE_H
#define LETHE_ANALYSIS_RUN_FILE_H

#include "analysis/run.h"
#include "core/json.h"

/* Raised when any singular value may change bits. */
enum { SPECTRUM_NUMERICS = 1 };

typedef struct SpectraFile {
    json_t *root; /* NULL until begun */
    const char *folder;
    double start_s;
} SpectraFile;

/* Writes the file with status "running", once; later calls do nothing. */
Status spectra_file_begin(SpectraFile *f, Device *dev, const SpectraOptions *options, const MatrixFolder *base);
/* Adds the hash of tuned checkpoint i. */
Status spectra_file_tuned(SpectraFile *f, size_t i, const DeltaPair *pair, FileHashMode mode);
/* Whether OUT has a run.json of a run that did not come to its end. */
Status spectra_file_unfinished(const char *out, bool *unfinished);
/* Writes status, seconds and peak memory, if begun, and releases. */
Status spectra_file_end(SpectraFile *f, Status outcome);

#endif
