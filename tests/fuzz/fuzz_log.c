/* A log of records: the bytes as a file, then each of its lines in a frame of its own, so that the checksum does not keep everything out. */
#include "tests/fuzz/fuzz.h"

#include "core/appendlog.h"
#include "core/hash.h"
#include "eval/score/record.h"

static void frame(StrBuf *out, Str payload)
{
    strbuf_addf(out, "%08zx %08x ", payload.len, (unsigned)crc32c(0, payload.data, payload.len));
    strbuf_add_str(out, payload);
    strbuf_add_char(out, '\n');
}

static Status frame_again(void *context, Str payload, const char *path)
{
    (void)path;
    BUG_IF(payload.len > 0 && memchr(payload.data, '\n', payload.len) != NULL);
    frame(context, payload);
    return strbuf_status(context);
}

/* No damage is an error, and the good records, framed again, are all there is. */
static void check_frames(Str text)
{
    AppendLogCount count = {0}, again = {0};
    StrBuf kept, twice;

    strbuf_init(&kept);
    strbuf_init(&twice);
    if (fuzz_must(appendlog_read(fuzz_file(text), frame_again, &kept, &count)) &&
        fuzz_must(appendlog_read(fuzz_file(strbuf_str(&kept)), frame_again, &twice, &again))) {
        BUG_IF(again.record != count.record || again.damaged != 0);
        BUG_IF(!str_equal(strbuf_str(&kept), strbuf_str(&twice)));
    }
    strbuf_release(&kept);
    strbuf_release(&twice);
}

static void check_store(const RecordStore *store)
{
    for (size_t i = 0; i < store->count; i++) {
        const ScoreRecord *r = &store->record[i];

        BUG_IF(r->doc_id < 0 || r->n_choice < 1 || r->n_choice > TASK_MAX_CHOICES || r->tokens < 0 || r->truncated < 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *folder;
    const Str text = fuzz_str(data, size);
    StrBuf framed;
    RecordStore store;

    if (folder == NULL) {
        folder = fuzz_folder();
        fuzz_link(folder, "x.log");
    }
    const int64_t held = mem_held();
    check_frames(text);
    strbuf_init(&framed);
    for (size_t at = 0; at < text.len;) {
        const size_t feed = str_find(text, str_of("\n"), at), end = feed == SIZE_MAX ? text.len : feed;

        frame(&framed, str_slice(text, at, end));
        at = end + 1;
    }
    fuzz_file(strbuf_str(&framed));
    if (!framed.failed && fuzz_succeeded(records_load(&store, folder))) {
        check_store(&store);
        records_release(&store);
    }
    status_clear();
    strbuf_release(&framed);
    BUG_IF(mem_held() != held);
    return 0;
}

void fuzz_log_seeds(SeedList *out)
{
    static const char *const lines[] = {
        "{\"key\": \"k1\", \"task\": \"arc\", \"doc_id\": 0, \"loglik\": [-1.5, -2.25e-3], \"greedy\": [true, false], \"tokens\": 7, \"truncated\": 0}",
        "{\"key\": \"k1\", \"task\": \"arc\", \"doc_id\": 1, \"loglik\": [-0.1], \"greedy\": [true]}",
        "{\"key\": \"k1\", \"doc_id\": 0, \"loglik\": [-1.0], \"greedy\": [false]}",
        "{\"time\": 5, \"note\": \"another kind\"}",
        "[1]",
    };
    StrBuf all, framed;

    strbuf_init(&all);
    strbuf_init(&framed);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        seed_add_text(out, lines[i]);
        strbuf_addf(&all, "%s\n", lines[i]);
        frame(&framed, str_of(lines[i]));
    }
    strbuf_add_text(&framed, "00000003 1234abcd {}\n");
    seed_add_buf(out, &all);
    seed_add_buf(out, &framed);
}
