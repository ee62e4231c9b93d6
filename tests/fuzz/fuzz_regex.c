/* A pattern as a tokenizer file may bring it, NUL, a text to cut with it. */
#include "tests/fuzz/fuzz.h"

#include "core/utf8.h"
#include "model/tokenizer_private.h"

/* Long patterns only cost time in PCRE2, where nothing of ours is tested. */
enum { MAX_PATTERN = 256, MAX_TEXT = 256 };

static bool is_boundary(Str text, size_t at) { return at == text.len || ((uint8_t)text.data[at] & 0xc0) != 0x80; }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const Str all = fuzz_str(data, size);
    const size_t zero = str_find(all, (Str){"", 1}, 0);
    const Str pattern = str_slice(all, 0, zero == SIZE_MAX ? all.len : zero), text = str_slice(all, zero == SIZE_MAX ? all.len : zero + 1, all.len);
    const int64_t held = mem_held();
    Pattern compiled = {0};

    if (pattern.len > MAX_PATTERN || text.len > MAX_TEXT || utf8_valid_prefix(all) != all.len)
        return 0;
    if (fuzz_succeeded(pattern_compile(&compiled, pattern))) {
        PatternWalk walk = {.pattern = &compiled, .text = text, .last_end = SIZE_MAX};
        size_t begin, end, done = 0, n_match = 0;
        bool found = true;

        while (found && fuzz_succeeded(pattern_next(&walk, &begin, &end, &found)) && found) {
            BUG_IF(begin < done || end < begin || end > text.len || !is_boundary(text, begin) || !is_boundary(text, end));
            BUG_IF(++n_match > text.len + 1);
            done = end;
        }
    }
    pattern_release(&compiled);
    BUG_IF(mem_held() != held);
    return 0;
}

void fuzz_regex_seeds(SeedList *out)
{
    static const char text[] = "I'll say  caf\xc3\xa9 12,345\n\n\t(x)  \xe4\xb8\xad\xe6\x96\x87 \xf0\x9f\x98\x80!";
    static const char *const patterns[] = {
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        "\\p{N}",
        "",
        "x*",
        "(a*)*b",
        "((((((((((((((((((a))))))))))))))))))\\17",
        "(?<=\\p{L}) |\\b",
        "a\\Kb|(?<!x)\\S$",
        "(?(DEFINE)(?<k>l\\K))(?=(?&k))",
        "(?(DEFINE)(?<k>\\K))(?<=a(?&k).)",
        "(?(DEFINE)(?<k>\\K))\\S(?<=(?&k)\\S)",
        "(*UCP)(*LIMIT_MATCH=1)(*SKIP)\\X|[\\P{L}\\S-a]|\\",
        "[[:alpha:]\\]]+|\\Q[\\E|(?#[)|(?x) [ ] # ]",
    };

    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        StrBuf item;

        strbuf_init(&item);
        strbuf_add(&item, patterns[i], strlen(patterns[i]) + 1);
        strbuf_add(&item, text, sizeof text - 1);
        seed_add_buf(out, &item);
    }
}
