#include "tests/world/language.h"

#include "core/map.h"

/* Every seventh word has a letter outside ASCII: lengths in bytes and in code points then differ, and so do cases. */
static const char *const onset[] = {"b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "kl", "st", "tr"};
static const char *const vowel[] = {"a", "e", "i", "o", "u", "ai", "ou"};
static const char *const foreign[] = {"\xc3\xa9", "\xc3\xb6", "\xc5\xbe", "\xc3\xa7", "\xc3\x9f", "\xce\xbb", "\xd0\xb6"};

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

int language_pick(Language *l, int n)
{
    return (int)pyrandom_below(&l->random, (uint64_t)n);
}

void language_choose(Language *l, int *out, int count, int n, int first)
{
    BUG_IF(count > n);
    for (int i = 0; i < count; i++) {
        bool used;
        do {
            out[i] = i == 0 && first >= 0 ? first : language_pick(l, n);
            used = false;
            for (int k = 0; k < i; k++)
                used = used || out[k] == out[i];
        } while (used);
    }
}

/* A word that no other word is. */
static Status make_word(Language *l, Map *used, bool capital, const char **out)
{
    bool fresh = false;
    StrBuf word;
    strbuf_init(&word);
    Status st = LT_OK;
    while (!fresh) {
        strbuf_clear(&word);
        const int n = 2 + language_pick(l, 2);
        for (int i = 0; i < n; i++) {
            strbuf_add_text(&word, onset[language_pick(l, COUNT(onset))]);
            strbuf_add_text(&word, vowel[language_pick(l, COUNT(vowel))]);
        }
        if (used->count % 7 == 6)
            strbuf_add_text(&word, foreign[language_pick(l, COUNT(foreign))]);
        TRY_GOTO(strbuf_status(&word), st, done);
        TRY_GOTO(map_put(used, strbuf_str(&word), 0, &fresh), st, done);
    }
    if (capital)
        word.data[0] = (char)(word.data[0] - 'a' + 'A');
    *out = arena_strndup(&l->text, word.data, word.len);
    st = *out != NULL ? LT_OK : LT_E_NOMEM;
done:
    strbuf_release(&word);
    return st;
}

static Status make_words(Language *l, Map *used, bool capital, const char **word, int n)
{
    for (int i = 0; i < n; i++)
        TRY(make_word(l, used, capital, &word[i]));
    return LT_OK;
}

Status language_make(Language *l, uint64_t seed)
{
    Map used;
    Status st;
    *l = (Language){0};
    pyrandom_seed(&l->random, seed);
    arena_init(&l->text);
    map_init(&used);
    TRY_GOTO(make_words(l, &used, true, l->name, N_NAME), st, done);
    TRY_GOTO(make_words(l, &used, false, l->thing, N_THING), st, done);
    TRY_GOTO(make_words(l, &used, false, l->verb, N_VERB), st, done);
    TRY_GOTO(make_words(l, &used, false, l->trait, N_TRAIT), st, done);
    TRY_GOTO(make_words(l, &used, false, l->place, N_PLACE), st, done);
    for (int i = 0; i < N_THING; i++) {
        l->verb_of[i] = language_pick(l, N_VERB);
        l->trait_of[i] = language_pick(l, N_TRAIT);
        l->place_of[i] = language_pick(l, N_PLACE);
    }
done:
    map_release(&used);
    if (st != LT_OK)
        language_release(l);
    return st;
}

void language_release(Language *l)
{
    arena_release(&l->text);
}
