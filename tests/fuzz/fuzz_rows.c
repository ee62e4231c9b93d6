/* A task's file: a digit that picks the task, then lines, an array, or either of them compressed. */
#include "tests/fuzz/fuzz.h"

#include "core/utf8.h"
#include "eval/tasks/dataset.h"
#include "tests/world/rows.h"

#include <zlib.h>

static void check_str(Str s) { BUG_IF(s.len > 0 && (s.data == NULL || utf8_valid_prefix(s) != s.len)); }

static void check_doc(const Task *task, const Doc *doc)
{
    json_t *shown = NULL;

    BUG_IF(doc->n_context < 1 || doc->n_context > TASK_MAX_CHOICES);
    BUG_IF(doc->n_choice < 0 || doc->n_choice > TASK_MAX_CHOICES || (task->kind == TASK_GENERATE) != (doc->n_choice == 0));
    BUG_IF(doc->n_choice > 0 && (doc->gold < 0 || doc->gold >= doc->n_choice || (doc->n_context != 1 && doc->n_context != doc->n_choice)));
    for (int i = 0; i < doc->n_context; i++)
        check_str(doc->context[i]);
    for (int i = 0; i < doc->n_choice; i++) {
        check_str(doc->continuation[i]);
        check_str(doc->choice[i]);
    }
    check_str(doc->target);
    check_str(doc->shot);
    if (task->sample_doc != NULL && fuzz_must(task->sample_doc(doc, &shown)))
        json_decref(shown);
}

static size_t count_tasks(void)
{
    size_t n = 0;

    while (tasks[n] != NULL)
        n++;
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const int64_t held = mem_held();
    DataSet set;

    if (size == 0)
        return 0;
    const Task *task = tasks[data[0] % count_tasks()];
    if (fuzz_succeeded(dataset_open(&set, task, fuzz_file(fuzz_str(data + 1, size - 1))))) {
        BUG_IF(set.n_doc == 0 || set.task != task);
        for (size_t i = 0; i < set.n_doc; i++)
            check_doc(task, &set.doc[i]);
        dataset_close(&set);
    }
    BUG_IF(mem_held() != held);
    return 0;
}

/* Of the bytes that mean this task, a digit. */
static void add_rows(SeedList *out, const char *task, const StrBuf *rows)
{
    const size_t n = count_tasks();
    StrBuf text;

    strbuf_init(&text);
    for (char digit = '0'; digit <= '9' && text.len == 0; digit++)
        if (strcmp(tasks[(size_t)digit % n]->name, task) == 0)
            strbuf_add_char(&text, digit);
    strbuf_add_str(&text, strbuf_str(rows));
    seed_add_buf(out, &text);
}

static void add_world(SeedList *out)
{
    Language l;
    StrBuf rows[5];

    BUG_IF(language_make(&l, 7) != LT_OK);
    for (int i = 0; i < 5; i++)
        strbuf_init(&rows[i]);
    BUG_IF(hellaswag_rows(&rows[0], &l, 5, "val") != LT_OK || arc_rows(&rows[1], &l, 3, ARC_RAW) != LT_OK);
    BUG_IF(arc_rows(&rows[2], &l, 2, ARC_COLUMNS) != LT_OK || winogrande_rows(&rows[3], &l, 4) != LT_OK || gsm8k_rows(&rows[4], &l, 2) != LT_OK);
    add_rows(out, "hellaswag", &rows[0]);
    add_rows(out, "arc_challenge", &rows[1]);
    add_rows(out, "arc_challenge", &rows[2]);
    add_rows(out, "winogrande", &rows[3]);
    add_rows(out, "gsm8k", &rows[4]);
    for (int i = 0; i < 5; i++)
        strbuf_release(&rows[i]);
    language_release(&l);
}

static void add_gzip(SeedList *out, Str text)
{
    uint8_t packed[512] = {'0'};
    z_stream z = {.next_in = (Bytef *)(uintptr_t)text.data, /* zlib only reads it */
                  .avail_in = (uInt)text.len,
                  .next_out = packed + 1,
                  .avail_out = sizeof packed - 1};

    BUG_IF(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) != Z_OK || deflate(&z, Z_FINISH) != Z_STREAM_END);
    seed_add(out, packed, 1 + z.total_out);
    deflateEnd(&z);
}

void fuzz_rows_seeds(SeedList *out)
{
    static const char arc[] = "[{\"id\":\"x\",\"question\":{\"stem\":\"Why?\",\"choices\":[{\"text\":\"a\",\"label\":\"A\"},{\"text\":\"b\",\"label\":\"B\"}]},"
                              "\"answerKey\":\"B\"}]";
    char item[512] = "0";

    add_world(out);
    for (char task = '0'; task < '4'; task++) {
        item[0] = task;
        strcpy(item + 1, arc);
        seed_add_text(out, item);
    }
    add_gzip(out, str_of(arc));
    seed_add_text(out, "0\xef\xbb\xbf\r\n {}\r\n");
    seed_add(out, "1\x28\xb5\x2f\xfd\x04\x00\x11\x00\x00{}", 13);
}
