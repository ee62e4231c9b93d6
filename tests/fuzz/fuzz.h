/* Fuzz targets: what reads a file from outside, fed with any bytes. One file a target, tests/fuzz/fuzz_<name>.c, with
 *
 *     int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)    one input: checked, cleaned up, 0
 *     void fuzz_<name>_seeds(SeedList *out)                           small inputs to start from, good and hostile
 *
 * and a row in tests/fuzz/targets.c. `make fuzz` links each with libFuzzer; test_fuzz_corpus holds them all, there compiled under the name
 * of their file (-DLLVMFuzzerTestOneInput=fuzz_<name>). Inputs that once broke something lie in tests/fuzz/corpus/<name>/.
 *
 * A target checks what must hold for every input: a status and its text agree, nothing stays allocated, and whatever is accepted keeps
 * the promises of its header. A broken promise is our mistake and aborts. */
#ifndef LETHE_TESTS_FUZZ_FUZZ_H
#define LETHE_TESTS_FUZZ_FUZZ_H

#include "core/strbuf.h"

typedef struct SeedList {
    StrBuf *item;
    size_t count, cap;
} SeedList;
void seed_add(SeedList *list, const void *data, size_t size);
static inline void seed_add_text(SeedList *list, const char *text) { seed_add(list, text, strlen(text)); }
/* Takes what the buffer holds and leaves it empty. */
void seed_add_buf(SeedList *list, StrBuf *text);
void seed_release(SeedList *list);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void fuzz_adapter_seeds(SeedList *out);
void fuzz_config_seeds(SeedList *out);
void fuzz_index_seeds(SeedList *out);
void fuzz_log_seeds(SeedList *out);
void fuzz_regex_seeds(SeedList *out);
void fuzz_rows_seeds(SeedList *out);
void fuzz_safetensors_seeds(SeedList *out);
void fuzz_text_seeds(SeedList *out);
void fuzz_tokenizer_seeds(SeedList *out);
void fuzz_tokenizer_config_seeds(SeedList *out);
void fuzz_tokenizer_model_seeds(SeedList *out);

typedef struct FuzzTarget {
    const char *name;
    int (*run)(const uint8_t *data, size_t size);
    void (*seeds)(SeedList *out);
} FuzzTarget;
/* Ended by a NULL name. */
extern const FuzzTarget fuzz_targets[];

static inline Str fuzz_str(const uint8_t *data, size_t size) { return (Str){size > 0 ? (const char *)data : "", size}; }

/* True for success. A text without a failure, or a failure without a text, aborts; the text is cleared. */
bool fuzz_succeeded(Status st);
/* For what has to succeed after something was accepted; running out of memory is always allowed. */
bool fuzz_must(Status st);
/* The bytes as a file in memory; the path stays the same over calls. */
const char *fuzz_file(Str content);
/* A fresh folder, removed when the program ends. */
const char *fuzz_folder(void);
/* FOLDER/name leads to what fuzz_file holds. */
void fuzz_link(const char *folder, const char *name);
void fuzz_put(const char *folder, const char *name, Str content);

/* Changes an input in place: flips, cuts, repeats, splices with `other`, numbers replaced by extreme ones. The new size, at most `max`. */
size_t fuzz_mutate(uint8_t *data, size_t size, size_t max, Str other, uint64_t *random);
enum { FUZZ_MAX_BYTES = 8192 };

#endif
