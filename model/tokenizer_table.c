/* The two big tables of a tokenizer.json, model.vocab and model.merges, read straight from the text.
 *
 * They are nearly the whole file: a JSON tree of them costs some ten allocations per merge, most of the start-up time
 * of a run, and Jansson refuses keys that hold U+0000, which vocabularies have. So they are cut out here, and all the rest
 * of the file goes through core/json. Finding them is lenient (a file that is not well-formed is left to the general
 * reader, which says where it breaks); reading them is strict. */
#include "model/tokenizer_private.h"

#include "core/utf8.h"

typedef struct Cursor {
    Str text;
    size_t at;
} Cursor;

static int peek(const Cursor *c)
{
    return c->at < c->text.len ? (unsigned char)c->text.data[c->at] : -1;
}

static void skip_space(Cursor *c)
{
    while (peek(c) == ' ' || peek(c) == '\n' || peek(c) == '\t' || peek(c) == '\r')
        c->at++;
}

static bool take(Cursor *c, char wanted)
{
    skip_space(c);
    if (peek(c) != wanted)
        return false;
    c->at++;
    return true;
}

/* Behind the closing quote; *inside is what stands between the quotes, escapes and all. A quote behind an odd number of backslashes is escaped. */
static bool skip_string(Cursor *c, Str *inside)
{
    if (!take(c, '"'))
        return false;
    const char *begin = c->text.data + c->at, *end = c->text.data + c->text.len;
    for (const char *p = begin; (p = memchr(p, '"', (size_t)(end - p))) != NULL; p++) {
        const char *plain = p;

        while (plain > begin && plain[-1] == '\\')
            plain--;
        if ((p - plain) % 2 != 0)
            continue;
        *inside = (Str){begin, (size_t)(p - begin)};
        c->at += inside->len + 1;
        return true;
    }
    return false;
}

/* Behind any value, by counting brackets. */
static bool skip_value(Cursor *c, Str *value)
{
    size_t depth = 0;
    Str inside;

    skip_space(c);
    const size_t begin = c->at;
    while (c->at < c->text.len) {
        const char next = c->text.data[c->at];

        if (next == '"') {
            if (!skip_string(c, &inside))
                return false;
            continue;
        }
        if (depth == 0 && (next == ',' || next == '}' || next == ']'))
            break;
        if (next == '{' || next == '[')
            depth++;
        else if (next == '}' || next == ']')
            depth--;
        c->at++;
    }
    *value = str_slice(c->text, begin, c->at);
    while (value->len > 0 && strchr(" \t\r\n", value->data[value->len - 1]) != NULL)
        value->len--;
    return depth == 0;
}

bool table_member(Str text, const char *key, Str *value)
{
    Cursor c = {text, 0};
    Str name;

    if (!take(&c, '{'))
        return false;
    do {
        if (!skip_string(&c, &name) || !take(&c, ':') || !skip_value(&c, value))
            return false;
        if (str_is(name, key))
            return true;
    } while (take(&c, ','));
    return false;
}

static bool is_bracketed(Str value, char open, char close)
{
    return value.len >= 2 && value.data[0] == open && value.data[value.len - 1] == close;
}

TableText table_find(Str json)
{
    TableText found = {{NULL, 0}, {NULL, 0}};
    Str model, value;

    if (!table_member(json, "model", &model))
        return found;
    if (table_member(model, "vocab", &value) && is_bracketed(value, '{', '}'))
        found.vocab = value;
    if (table_member(model, "merges", &value) && is_bracketed(value, '[', ']'))
        found.merges = value;
    return found;
}

static void add_emptied(StrBuf *out, Str table)
{
    strbuf_add(out, table.data, 1);
    for (const char *p = table.data, *end = p + table.len; (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
        strbuf_add_char(out, '\n');
    strbuf_add(out, table.data + table.len - 1, 1);
}

void table_cut(StrBuf *out, Str json, const TableText *tables)
{
    Str first = tables->vocab, second = tables->merges;

    if (first.len == 0 || (second.len != 0 && second.data < first.data)) {
        first = tables->merges;
        second = tables->vocab;
    }
    const char *from = json.data;
    for (int i = 0; i < 2; i++) {
        const Str table = i == 0 ? first : second;
        if (table.len == 0)
            continue;
        strbuf_add(out, from, (size_t)(table.data - from));
        add_emptied(out, table);
        from = table.data + table.len;
    }
    strbuf_add(out, from, (size_t)(json.data + json.len - from));
}

static int hex_digit(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hexadecimal digits, UINT32_MAX if they are not. */
static uint32_t take_hex4(Cursor *c)
{
    uint32_t code = 0;

    for (int i = 0; i < 4; i++, c->at++) {
        const int digit = peek(c) < 0 ? -1 : hex_digit(peek(c));
        if (digit < 0)
            return UINT32_MAX;
        code = code << 4 | (uint32_t)digit;
    }
    return code;
}

/* What follows the backslash of an escape. False: not an escape, or half a surrogate pair. */
static bool take_escape(Cursor *c, StrBuf *out)
{
    static const char name[] = "\"\\/bfnrt", meaning[] = "\"\\/\b\f\n\r\t";
    const int kind = peek(c);
    char bytes[4];

    if (kind <= 0)
        return false;
    c->at++;
    const char *plain = strchr(name, kind);
    if (plain != NULL) {
        strbuf_add_char(out, meaning[plain - name]);
        return true;
    }
    uint32_t code = kind == 'u' ? take_hex4(c) : UINT32_MAX;
    if (code >= 0xd800 && code <= 0xdbff) {
        const bool pair = peek(c) == '\\' && c->at + 1 < c->text.len && c->text.data[c->at + 1] == 'u';
        c->at += pair ? 2 : 0;
        const uint32_t low = pair ? take_hex4(c) : UINT32_MAX;
        if (low < 0xdc00 || low > 0xdfff)
            return false;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    if (code > 0x10ffff || (code >= 0xdc00 && code <= 0xdfff))
        return false;
    strbuf_add(out, bytes, utf8_put(bytes, code));
    return true;
}

/* A string, its value into `out`, which is cleared first. */
static bool take_string(Cursor *c, StrBuf *out)
{
    strbuf_clear(out);
    if (!take(c, '"'))
        return false;
    for (;;) {
        const size_t begin = c->at;
        while (peek(c) >= 0x20 && peek(c) != '"' && peek(c) != '\\')
            c->at++;
        strbuf_add(out, c->text.data + begin, c->at - begin);
        const int next = peek(c);
        if (next < 0x20)
            return false;
        c->at++;
        if (next == '"')
            return true;
        if (!take_escape(c, out))
            return false;
    }
}

/* An integer without fraction or exponent. */
static bool take_int(Cursor *c, int64_t *out)
{
    skip_space(c);
    const bool minus = peek(c) == '-';
    int64_t value = 0;

    c->at += minus;
    const size_t begin = c->at;
    for (; peek(c) >= '0' && peek(c) <= '9'; c->at++) {
        if (c->at - begin >= 18) /* far beyond any id, and the sum would overflow */
            return false;
        value = value * 10 + (peek(c) - '0');
    }
    const bool leading_zero = c->at - begin > 1 && c->text.data[begin] == '0';
    *out = minus ? -value : value;
    return c->at > begin && !leading_zero && peek(c) != '.' && peek(c) != 'e' && peek(c) != 'E';
}

Status table_read_vocab(Str table, const char *file, VocabEntryFn *entry, void *context)
{
    Cursor c = {table, 1};
    StrBuf token;
    int64_t id;
    size_t index = 0;
    Status st = LT_OK;

    strbuf_init(&token);
    if (take(&c, '}'))
        return LT_OK;
    do {
        if (!take_string(&c, &token) || !take(&c, ':')) {
            st = FAIL(LT_E_INPUT, "%s: model.vocab: entry %zu: expected \"token\": id", file, index);
            break;
        }
        TRY_GOTO(strbuf_status(&token), st, done);
        if (!take_int(&c, &id)) {
            st = FAIL(LT_E_INPUT, "%s: model.vocab.%.40s: expected a whole number as id", file, token.data);
            break;
        }
        TRY_GOTO(entry(context, strbuf_str(&token), id), st, done);
        index++;
    } while (take(&c, ','));
    if (st == LT_OK && (!take(&c, '}') || c.at != table.len))
        st = FAIL(LT_E_INPUT, "%s: model.vocab: expected ',' or '}' after entry %zu", file, index - 1);
done:
    strbuf_release(&token);
    return st;
}

/* One merge in either form: ["a", "b"] or "a b". Returns NULL or what was expected. */
static const char *take_merge(Cursor *c, bool pairs, StrBuf text[2], Str part[2])
{
    if (pairs) {
        if (!take(c, '[') || !take_string(c, &text[0]) || !take(c, ',') || !take_string(c, &text[1]) || !take(c, ']'))
            return "expected [\"left\", \"right\"] as in the first merge";
        part[0] = strbuf_str(&text[0]);
        part[1] = strbuf_str(&text[1]);
        return NULL;
    }
    if (!take_string(c, &text[0]))
        return "expected \"left right\" as in the first merge";
    const Str whole = strbuf_str(&text[0]);
    const size_t space = str_find(whole, str_of(" "), 0);
    if (space == SIZE_MAX || str_find(whole, str_of(" "), space + 1) != SIZE_MAX)
        return "expected two tokens with one space between";
    part[0] = str_slice(whole, 0, space);
    part[1] = str_slice(whole, space + 1, whole.len);
    return NULL;
}

Status table_read_merges(Str table, const char *file, MergeEntryFn *entry, void *context)
{
    Cursor c = {table, 1};
    StrBuf text[2];
    Str part[2];
    size_t index = 0;
    Status st = LT_OK;

    if (take(&c, ']'))
        return LT_OK;
    strbuf_init(&text[0]);
    strbuf_init(&text[1]);
    skip_space(&c);
    const bool pairs = peek(&c) == '[';
    do {
        const char *trouble = take_merge(&c, pairs, text, part);
        if (trouble != NULL) {
            st = FAIL(LT_E_INPUT, "%s: model.merges[%zu]: %s", file, index, trouble);
            goto done;
        }
        TRY_GOTO(strbuf_status(&text[0]), st, done);
        TRY_GOTO(strbuf_status(&text[1]), st, done);
        TRY_GOTO(entry(context, index, part[0], part[1]), st, done);
        index++;
    } while (take(&c, ','));
    if (!take(&c, ']') || c.at != table.len)
        st = FAIL(LT_E_INPUT, "%s: model.merges: expected ',' or ']' after entry %zu", file, index - 1);
done:
    strbuf_release(&text[0]);
    strbuf_release(&text[1]);
    return st;
}
