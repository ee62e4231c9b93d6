/* lethe tokenize: JSON lines through a tokenizer, one line out for each line in. */
#include "cli/verbs.h"

#include "core/file.h"
#include "core/json.h"
#include "model/tokenizer.h"

#include <stdio.h>

typedef struct TokenizeOptions {
    CommonOptions common;
    bool special, decode;
} TokenizeOptions;

static const Option tokenize_options[] = {
    {.name = "special", .kind = OPTION_FLAG, .offset = offsetof(TokenizeOptions, special), .group = "Tokens",
     .help = "encode: with what the post-processor adds (BOS for Llama 2); decode: keep special tokens in the text"},
    {.name = "decode", .kind = OPTION_FLAG, .offset = offsetof(TokenizeOptions, decode), .help = "from ids back to text"},
    {0},
};

/* One line's way through: everything that is reused from line to line. */
typedef struct Tokenizing {
    const TokenizeOptions *options;
    const Tokenizer *tokenizer;
    Encoder *encoder;
    Ids ids;
    StrBuf text, out;
} Tokenizing;

static Status encode_line(Tokenizing *t, const JsonAt *line)
{
    Str text;

    TRY(json_get_str(line, "text", &text));
    const Status st = encoder_encode(t->encoder, text, t->options->special, &t->ids);
    if (st != LT_OK)
        return status_wrap(st, "stdin:%llu", (unsigned long long)line->line);
    strbuf_add_text(&t->out, "{\"ids\":[");
    for (size_t i = 0; i < t->ids.count; i++)
        strbuf_addf(&t->out, "%s%d", i > 0 ? "," : "", (int)t->ids.id[i]);
    strbuf_add_text(&t->out, "]}\n");
    return LT_OK;
}

static Status decode_line(Tokenizing *t, const JsonAt *line)
{
    const JsonAt array = json_member(line, "ids");
    size_t n = 0;

    TRY(json_to_array(array, &n));
    for (size_t i = 0; i < n; i++) {
        int64_t id = 0;
        TRY(json_to_int(json_element(&array, i), 0, INT32_MAX, &id));
        TRY(ids_add(&t->ids, (int32_t)id));
    }
    const Status st = tokenizer_decode(t->tokenizer, t->ids.id, t->ids.count, !t->options->special, &t->text);
    if (st != LT_OK)
        return status_wrap(st, "stdin:%llu", (unsigned long long)line->line);
    strbuf_add_text(&t->out, "{\"text\":");
    json_write_str(&t->out, strbuf_str(&t->text), false);
    strbuf_add_text(&t->out, "}\n");
    return LT_OK;
}

static Status tokenize_line(Tokenizing *t, Str text, uint64_t number)
{
    json_t *document = NULL;
    Status st;

    t->ids.count = 0;
    strbuf_clear(&t->text);
    strbuf_clear(&t->out);
    TRY(json_parse(&document, text, "stdin", number));
    const JsonAt line = json_root(document, "stdin", number);
    TRY_GOTO(json_to_object(line), st, done);
    TRY_GOTO(t->options->decode ? decode_line(t, &line) : encode_line(t, &line), st, done);
    TRY_GOTO(strbuf_status(&t->out), st, done);
    /* Flushed line by line: whoever asks over a pipe waits for the answer before asking again. */
    if (fwrite(t->out.data, 1, t->out.len, stdout) != t->out.len || fflush(stdout) != 0)
        st = FAIL(LT_E_IO, "cannot write to stdout");
done:
    json_decref(document);
    return st;
}

static Status tokenize_lines(Tokenizing *t)
{
    LineReader *reader = NULL;
    bool more = true;
    Str line;
    Status st;

    TRY(lines_open(&reader, "/dev/stdin"));
    for (;;) {
        TRY_GOTO(lines_next(reader, &line, &more), st, done);
        if (!more)
            break;
        if (line.len > 0)
            TRY_GOTO(tokenize_line(t, line, lines_number(reader)), st, done);
    }
done:
    lines_close(reader);
    return st;
}

static Status tokenize_run(void *options, const char *const *argument, size_t n_argument, const char *command_line)
{
    Tokenizing t = {.options = options};
    Tokenizer *tokenizer = NULL;
    Status st;

    (void)n_argument, (void)command_line;
    strbuf_init(&t.text);
    strbuf_init(&t.out);
    TRY_GOTO(file_exists(argument[0]) ? tokenizer_load_file(&tokenizer, argument[0]) : tokenizer_load(&tokenizer, argument[0]), st, done);
    t.tokenizer = tokenizer;
    TRY_GOTO(encoder_create(&t.encoder, tokenizer), st, done);
    st = tokenize_lines(&t);
done:
    strbuf_release(&t.out);
    strbuf_release(&t.text);
    ids_release(&t.ids);
    encoder_free(t.encoder);
    tokenizer_free(tokenizer);
    return st;
}

const Verb verb_tokenize = {
    .name = "tokenize",
    .arguments = "TOKENIZER [--special] [--decode] <LINES",
    .summary = "text to token ids and back: JSON lines {\"text\": ...} on stdin become {\"ids\": [...]} on stdout; TOKENIZER is a model folder, a "
               "tokenizer.json or a tokenizer.model",
    .option = tokenize_options,
    .options_bytes = sizeof(TokenizeOptions),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = tokenize_run,
    .examples = "  echo '{\"text\": \"Hello world\"}' | lethe tokenize models/llama\n"
                "  echo '{\"ids\": [1, 15043, 3186]}' | lethe tokenize models/llama --decode\n",
};
