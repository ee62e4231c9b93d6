#include "core/nearest.h"

/* Words longer than this are no typing errors of any name we have. */
enum { WORD_MAX = 48 };

/* What separates one of our names from a typing error of it: letter case and the kind of dash do not count. */
static char fold(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c == '_' ? '-' : c;
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Optimal string alignment: insertions, deletions, substitutions, and swaps of neighbours count 1 (Damerau 1964). Three rows of the usual table
 * suffice, since a swap looks two rows back. */
static size_t edit_distance(Str a, Str b)
{
    size_t row[3][WORD_MAX + 1];

    for (size_t j = 0; j <= b.len; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t *now = row[i % 3];
        const size_t *before = row[(i + 2) % 3], *before2 = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            const char ca = fold(a.data[i - 1]), cb = fold(b.data[j - 1]);
            now[j] = least(least(before[j], now[j - 1]) + 1, before[j - 1] + (ca != cb));
            if (i > 1 && j > 1 && ca == fold(b.data[j - 2]) && fold(a.data[i - 2]) == cb)
                now[j] = least(now[j], before2[j - 2] + 1);
        }
    }
    return row[a.len % 3][b.len];
}

const char *nearest_name(Str word, const char *const *names)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;

    if (word.len == 0 || word.len > WORD_MAX)
        return NULL;
    for (const char *const *name = names; *name != NULL; name++) {
        const Str candidate = str_of(*name);
        if (candidate.len > WORD_MAX)
            continue;
        size_t distance = edit_distance(word, candidate);
        /* A name begun but not finished is near however much is missing. */
        if (word.len >= 2 && str_starts(candidate, word))
            distance = least(distance, 1);
        if (distance < best_distance && distance <= 1 + word.len / 4) {
            best_distance = distance;
            best = *name;
        }
    }
    /* A word of which every letter would have to change is like nothing. */
    return best_distance < word.len ? best : NULL;
}
