/* Tokenizers as Hugging Face's tokenizer.json (or SentencePiece's tokenizer.model) describes them: added tokens -> normalizer -> pre-tokenizer -> BPE merges -> post-processor, and
 * the decoder back. A file that asks for a step we do not have is refused by the step's name.
 *
 * Tokenizer: const after load, shared by threads. Encoder: one thread's scratch memory and piece cache.
 * Order (what the reference does): added tokens with normalized=false are cut out of the raw text; every non-empty segment between is
 * normalized on its own; normalized=true tokens are cut out; then pre-tokenizer and merges. */
#ifndef LETHE_MODEL_TOKENIZER_H
#define LETHE_MODEL_TOKENIZER_H

#include "core/hash.h"
#include "core/pool.h"
#include "core/strbuf.h"

typedef struct Tokenizer Tokenizer;
typedef struct Encoder Encoder;

typedef struct Ids {
    int32_t *id;
    size_t count, cap;
} Ids;
Status ids_add(Ids *ids, int32_t id);
void ids_release(Ids *ids);

/* FOLDER/tokenizer.json, or FOLDER/tokenizer.model where there is none, with FOLDER/tokenizer_config.json (if any) for the names of bos, eos,
 * unk and pad and model_max_length. */
Status tokenizer_load(Tokenizer **out, const char *folder);
/* One file by itself: a tokenizer.model if its name ends in .model, else a tokenizer.json. */
Status tokenizer_load_file(Tokenizer **out, const char *path);
/* Pure: the text of a tokenizer.json. */
Status tokenizer_parse(Tokenizer **out, Str json, const char *file);
/* Pure: the bytes of a tokenizer.model (SentencePiece, byte-pair). `special` adds BOS in front, since the file cannot say it; a folder's
 * tokenizer_config.json can (add_bos_token, add_eos_token). */
Status tokenizer_parse_model(Tokenizer **out, Str data, const char *file);
void tokenizer_free(Tokenizer *t);

/* Ids in use: 1 + the highest. */
int32_t tokenizer_size(const Tokenizer *t);
/* The text of an id as the file spells it, false if there is none. */
bool tokenizer_token(const Tokenizer *t, int32_t id, Str *text);
/* -1 if there is no such token (added tokens first, then the vocabulary). */
int32_t tokenizer_find(const Tokenizer *t, Str token);
bool tokenizer_is_special(const Tokenizer *t, int32_t id);
/* From tokenizer_config.json; -1: none. */
int32_t tokenizer_bos(const Tokenizer *t);
int32_t tokenizer_eos(const Tokenizer *t);
int32_t tokenizer_pad(const Tokenizer *t);
/* model_max_length, 0 if absent or the "very large" sentinel. */
int64_t tokenizer_max_length(const Tokenizer *t);
/* SHA-256 of the bytes of tokenizer.json or tokenizer.model. */
Digest tokenizer_digest(const Tokenizer *t);
/* SHA-256 of the folder's chat template text, false if it has none. */
bool tokenizer_template_digest(const Tokenizer *t, Digest *out);

Status encoder_create(Encoder **out, const Tokenizer *t);
void encoder_free(Encoder *e);
/* Appends the ids of valid UTF-8 text. special: with what the post-processor adds (BOS for Llama-2). LT_E_INPUT for invalid UTF-8. */
Status encoder_encode(Encoder *e, Str text, bool special, Ids *out);

/* The same for many texts on all threads of the pool; out[i] gets the ids of text[i], whichever thread makes them. On failure the text says which
 * text it was; the lists still belong to the caller. */
Status encode_batch(Pool *pool, const Tokenizer *t, const Str *text, size_t n, bool special, Ids *out);

/* Decoding while ids come, one thread. Deltas and the flush joined are tokenizer_decode's text of the same ids. A delta is all that no later id
 * can change: never half a character; byte tokens of a byte-fallback vocabulary wait for the end of their run, since one bad byte spoils it all. */
typedef struct StreamDecoder StreamDecoder;
Status stream_decoder_create(StreamDecoder **out, const Tokenizer *t, bool skip_special);
void stream_decoder_free(StreamDecoder *d);
/* Appends the new text. */
Status stream_decoder_push(StreamDecoder *d, int32_t id, StrBuf *out);
/* Appends what was held back, and is ready for another text. */
Status stream_decoder_flush(StreamDecoder *d, StrBuf *out);

/* Appends the text of ids. Ids beyond the vocabulary are skipped silently; invalid byte sequences become U+FFFD by the decoder's rule. */
Status tokenizer_decode(const Tokenizer *t, const int32_t *id, size_t n, bool skip_special, StrBuf *out);

#endif
