#include "tests/world/world.h"

#include "core/file.h"
#include "eval/tasks/dataset.h"
#include "model/checkpoint.h"
#include "tests/world/bpe.h"
#include "tests/world/rows.h"

enum { SHARED_ROWS = 4 };

/* FOLDER/part, made if needed. */
static Status sub_folder(StrBuf *path, const char *folder, const char *part)
{
    TRY(path_join(path, folder, part));
    return dir_make(path->data);
}

/* Writes and empties the text. */
static Status write_rows(const char *folder, const char *task, const char *name, StrBuf *text)
{
    StrBuf inside, path;
    strbuf_init(&inside);
    strbuf_init(&path);
    Status st;
    TRY_GOTO(sub_folder(&inside, folder, task), st, done);
    TRY_GOTO(path_join(&path, inside.data, name), st, done);
    TRY_GOTO(file_write_atomic(path.data, text->data, text->len), st, done);
    strbuf_clear(text);
done:
    strbuf_release(&inside);
    strbuf_release(&path);
    return st;
}

/* The pool also holds the first rows of dev: a draw that meets the scored row must drop it. */
static Status write_winogrande(const char *folder, Language *l, StrBuf *text)
{
    StrBuf pool;
    strbuf_init(&pool);
    Status st;
    TRY_GOTO(winogrande_rows(text, l, 96), st, done);
    size_t end = 0;
    for (int i = 0; i < SHARED_ROWS; i++)
        end = str_find(strbuf_str(text), str_of("\n"), end) + 1;
    strbuf_add(&pool, text->data, end);
    TRY_GOTO(winogrande_rows(&pool, l, 196), st, done);
    TRY_GOTO(write_rows(folder, "data/winogrande", "dev.jsonl", text), st, done);
    TRY_GOTO(write_rows(folder, "data/winogrande", "train_xl.jsonl", &pool), st, done);
done:
    strbuf_release(&pool);
    return st;
}

static Status write_tasks(const char *folder, Language *l, StrBuf *text)
{
    TRY(hellaswag_rows(text, l, 160, "train"));
    TRY(write_rows(folder, "data/hellaswag", "hellaswag_train.jsonl", text));
    TRY(hellaswag_rows(text, l, 80, "val"));
    TRY(write_rows(folder, "data/hellaswag", "hellaswag_val.jsonl", text));
    TRY(arc_rows(text, l, 120, ARC_RAW));
    TRY(write_rows(folder, "data/arc_challenge", "ARC-Challenge-Train.jsonl", text));
    TRY(arc_rows(text, l, 60, ARC_RAW));
    TRY(write_rows(folder, "data/arc_challenge", "ARC-Challenge-Test.jsonl", text));
    TRY(arc_rows(text, l, 40, ARC_COLUMNS));
    TRY(write_rows(folder, "data/arc_challenge", "validation.jsonl", text));
    TRY(write_winogrande(folder, l, text));
    TRY(gsm8k_rows(text, l, 160));
    TRY(write_rows(folder, "data/gsm8k", "train.jsonl", text));
    TRY(gsm8k_rows(text, l, 64));
    return write_rows(folder, "data/gsm8k", "test.jsonl", text);
}

Status world_make_data(const char *folder, uint64_t seed)
{
    Language language;
    StrBuf text;
    TRY(language_make(&language, seed));
    strbuf_init(&text);
    const Status st = write_tasks(folder, &language, &text);
    strbuf_release(&text);
    language_release(&language);
    return st;
}

/* Every training row as it stands in a prompt. */
static Status gather_corpus(StrBuf *corpus, const char *folder)
{
    StrBuf data, path;
    strbuf_init(&data);
    strbuf_init(&path);
    Status st;
    TRY_GOTO(path_join(&data, folder, "data"), st, done);
    for (size_t i = 0; tasks[i] != NULL; i++) {
        DataSet set;
        TRY_GOTO(dataset_find(&path, tasks[i], tasks[i]->shot_split, data.data, NULL), st, done);
        TRY_GOTO(dataset_open(&set, tasks[i], path.data), st, done);
        for (size_t k = 0; k < set.n_doc; k++) {
            strbuf_add_str(corpus, set.doc[k].shot);
            strbuf_add_text(corpus, "\n\n");
        }
        dataset_close(&set);
    }
    st = strbuf_status(corpus);
done:
    strbuf_release(&data);
    strbuf_release(&path);
    return st;
}

Status world_make_tokenizer(const char *folder)
{
    Bpe bpe;
    StrBuf corpus, model;
    strbuf_init(&corpus);
    strbuf_init(&model);
    Status st;
    TRY_GOTO(gather_corpus(&corpus, folder), st, done);
    TRY_GOTO(bpe_train(&bpe, strbuf_str(&corpus)), st, done);
    TRY_GOTO(sub_folder(&model, folder, "model"), st, done);
    TRY_GOTO(bpe_save(&bpe, model.data, WORLD_MAX_LENGTH), st, done);
done:
    strbuf_release(&corpus);
    strbuf_release(&model);
    return st;
}

static Status model_config(ModelConfig *cfg)
{
    StrBuf text;
    strbuf_init(&text);
    strbuf_addf(&text,
                "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"vocab_size\": %d, \"hidden_size\": 64, "
                "\"intermediate_size\": 176, \"num_hidden_layers\": 3, \"num_attention_heads\": 4, \"num_key_value_heads\": 2, "
                "\"head_dim\": 16, \"max_position_embeddings\": %d, \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0, "
                "\"initializer_range\": 0.05, \"tie_word_embeddings\": false, \"hidden_act\": \"silu\", \"bos_token_id\": %d, "
                "\"eos_token_id\": %d, \"pad_token_id\": %d, \"torch_dtype\": \"float32\"}",
                BPE_VOCAB, WORLD_MAX_LENGTH, BPE_BOS, BPE_EOS, BPE_PAD);
    Status st = strbuf_status(&text);
    if (st == LT_OK)
        st = config_parse(cfg, strbuf_str(&text), "the world's config");
    strbuf_release(&text);
    return st;
}

Status world_make_model(const char *folder, uint64_t seed)
{
    ModelConfig cfg;
    Device *dev = NULL;
    Model *model = NULL;
    StrBuf path;
    strbuf_init(&path);
    Status st;
    TRY_GOTO(model_config(&cfg), st, done);
    TRY_GOTO(device_open(&dev, "cpu", 1), st, done);
    TRY_GOTO(model_random(&model, dev, &cfg, LT_F32, seed), st, done);
    TRY_GOTO(sub_folder(&path, folder, "model"), st, done);
    TRY_GOTO(model_save(model, path.data), st, done);
done:
    model_free(model);
    device_close(dev);
    strbuf_release(&path);
    return st;
}

Status world_make(const char *folder, uint64_t seed)
{
    TRY(world_make_data(folder, seed));
    TRY(world_make_tokenizer(folder));
    return world_make_model(folder, seed);
}
