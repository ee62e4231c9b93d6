#include "model/tokenizer_private.h"

#include "core/utf8.h"

#include <utf8proc.h>

static Status add_node(AddedSet *set, uint8_t byte, uint32_t *index)
{
    if (set->count == 0)
        set->count = 1;
    TRY(MEM_GROW(set->node, set->cap, set->count + 1));
    *index = (uint32_t)set->count++;
    set->node[*index] = (TrieNode){.token = -1, .byte = byte};
    return LT_OK;
}

static uint32_t find_child(const AddedSet *set, uint32_t parent, uint8_t byte)
{
    uint32_t at = set->node[parent].child;

    while (at != 0 && set->node[at].byte != byte)
        at = set->node[at].sibling;
    return at;
}

Status added_set_put(AddedSet *set, Str content, size_t token)
{
    uint32_t at = set->first[(uint8_t)content.data[0]];

    if (at == 0) {
        TRY(add_node(set, (uint8_t)content.data[0], &at));
        set->first[(uint8_t)content.data[0]] = at;
    }
    for (size_t i = 1; i < content.len; i++) {
        const uint8_t byte = (uint8_t)content.data[i];
        uint32_t next = find_child(set, at, byte);
        if (next == 0) {
            TRY(add_node(set, byte, &next));
            set->node[next].sibling = set->node[at].child;
            set->node[at].child = next;
        }
        at = next;
    }
    set->node[at].token = (int32_t)token;
    return LT_OK;
}

void added_set_release(AddedSet *set)
{
    mem_free(set->node);
}

/* The longest token at a place; NULL if there is none. */
static const AddedToken *match_at(const AddedSet *set, Str text, size_t at, size_t *end)
{
    const AddedToken *longest = NULL;
    uint32_t node = set->first[(uint8_t)text.data[at]];

    while (node != 0) {
        at++;
        if (set->node[node].token >= 0) {
            longest = &set->token[set->node[node].token];
            *end = at;
        }
        node = at < text.len ? find_child(set, node, (uint8_t)text.data[at]) : 0;
    }
    return longest;
}

/* \w of the reference's regex crate: Alphabetic, Mark, decimal number, connector, join control. */
static bool is_word(uint32_t code)
{
    switch (utf8proc_category((utf8proc_int32_t)code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        /* Circled and squared letters are Alphabetic though their category is So. */
        return code == 0x200c || code == 0x200d || (code >= 0x24b6 && code <= 0x24e9) || (code >= 0x1f130 && code <= 0x1f149) ||
               (code >= 0x1f150 && code <= 0x1f169) || (code >= 0x1f170 && code <= 0x1f189);
    }
}

/* The code point that ends at `end` > 0, and where it begins. */
static uint32_t code_before(Str text, size_t end, size_t *begin)
{
    uint32_t code;

    *begin = end - 1;
    while (((uint8_t)text.data[*begin] & 0xc0) == 0x80)
        --*begin;
    utf8_next(text, *begin, &code);
    return code;
}

static bool stands_alone(Str text, size_t begin, size_t end)
{
    uint32_t code;
    size_t before;

    if (begin > 0 && is_word(code_before(text, begin, &before)))
        return false;
    if (end == text.len)
        return true;
    utf8_next(text, end, &code);
    return !is_word(code);
}

static size_t swallow_left(Str text, size_t begin)
{
    size_t before;

    while (begin > 0 && unicode_is_space(code_before(text, begin, &before)))
        begin = before;
    return begin;
}

static size_t swallow_right(Str text, size_t end)
{
    while (end < text.len) {
        uint32_t code;
        const size_t next = utf8_next(text, end, &code);
        if (!unicode_is_space(code))
            break;
        end = next;
    }
    return end;
}

/* Leftmost-longest matches without overlaps. A match that does not stand alone as its token demands is used up all the
 * same: the reference does not try shorter tokens there. */
static const AddedToken *find_token(AddedCut *cut, size_t *begin, size_t *end)
{
    const Str text = cut->text;
    const AddedToken *token;

    if (cut->set->count == 0)
        return NULL;
    for (size_t at = cut->search; at < text.len; at++) {
        if (cut->set->first[(uint8_t)text.data[at]] == 0 || (token = match_at(cut->set, text, at, end)) == NULL)
            continue;
        if (!token->single_word || stands_alone(text, at, *end)) {
            *begin = at;
            cut->search = *end;
            return token;
        }
        at = *end - 1;
    }
    cut->search = text.len;
    return NULL;
}

bool added_cut_next(AddedCut *cut, Stretch *out)
{
    size_t begin, end;
    const AddedToken *token = cut->held;

    if (token != NULL) {
        *out = (Stretch){.token = token};
        cut->done = cut->held_end;
        cut->held = NULL;
        return true;
    }
    token = find_token(cut, &begin, &end);
    if (token == NULL) {
        *out = (Stretch){.text = str_slice(cut->text, cut->done, cut->text.len)};
        cut->done = cut->text.len;
        return out->text.len > 0;
    }
    if (token->lstrip) {
        begin = swallow_left(cut->text, begin);
        begin = begin < cut->done ? cut->done : begin;
    }
    if (token->rstrip)
        end = swallow_right(cut->text, end);
    if (cut->done < begin) {
        *out = (Stretch){.text = str_slice(cut->text, cut->done, begin)};
        cut->held = token;
        cut->held_end = end;
        return true;
    }
    *out = (Stretch){.token = token};
    cut->done = end;
    return true;
}
