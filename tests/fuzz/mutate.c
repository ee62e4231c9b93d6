/* A small mutator that knows that most inputs are JSON or lines. libFuzzer finds paths by coverage; this one needs no special compiler, and
 * brings what bit flips do not find: extreme numbers, long repeats, texts put together from two inputs. */
#include "tests/fuzz/fuzz.h"

/* SplitMix64 (Steele, Lea, Flood 2014). */
static size_t draw(uint64_t *state, size_t n)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (size_t)((z ^ (z >> 31)) % n);
}

static const char *const numbers[] = {"0", "-1", "1", "-0", "8.0", "4e0", "1e-400", "1e400", "1e30", "0.5", "255", "256", "65536", "2147483647",
                                      "2147483648", "4294967295", "281474976710656", "281474976710657", "9007199254740993",
                                      "9223372036854775807", "9223372036854775808", "18446744073709551615", "99999999999999999999", "016"};

static const char *const words[] = {"\"", "\\", "\\u0000", "\\ud800", "\\ud83d\\ude00", "{}", "[]", "null", "true", "false", "NaN", ",", ":", "{", "}",
                                    "[", "]", "\n", "\r\n", " ", "\t", "\xef\xbb\xbf", "\xff", "\xc3", "\xe2\x96\x81", "\xcc\x88", "\xf0\x9f\x98\x80",
                                    "<0x00>", "<0x-1>", "../", "\\K", "(?=", "*", "{1,9}", "\\p{L}", "[["};

/* Puts `with` in the place of data[from, to). */
static size_t replace(uint8_t *data, size_t size, size_t max, size_t from, size_t to, Str with)
{
    if (size - (to - from) + with.len > max)
        return size;
    memmove(data + from + with.len, data + to, size - to);
    memcpy(data + from, with.data, with.len);
    return size - (to - from) + with.len;
}

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

static size_t change_number(uint8_t *data, size_t size, size_t max, uint64_t *random)
{
    const char *number = numbers[draw(random, sizeof numbers / sizeof *numbers)];
    const size_t start = draw(random, size);

    for (size_t i = 0; i < size; i++) {
        size_t from = (start + i) % size, to;

        if (!is_digit(data[from]))
            continue;
        while (from > 0 && is_digit(data[from - 1]))
            from--;
        for (to = from; to < size && is_digit(data[to]);)
            to++;
        return replace(data, size, max, from, to, str_of(number));
    }
    return size;
}

/* Repeats a stretch, up to a thousand times: depth and length. */
static size_t repeat(uint8_t *data, size_t size, size_t max, uint64_t *random)
{
    const size_t from = draw(random, size), len = 1 + draw(random, size - from < 32 ? size - from : 32);
    const size_t wanted = draw(random, 4) == 0 ? draw(random, 1000) : 1 + draw(random, 3), room = (max - size) / len;
    const size_t added = (wanted < room ? wanted : room) * len;

    memmove(data + from + len + added, data + from + len, size - from - len);
    for (size_t i = 0; i < added; i++)
        data[from + len + i] = data[from + i];
    return size + added;
}

size_t fuzz_mutate(uint8_t *data, size_t size, size_t max, Str other, uint64_t *random)
{
    for (size_t left = 1 + draw(random, 4); left > 0; left--) {
        const size_t at = draw(random, size + 1), end = at + (size > at ? draw(random, size - at < 64 ? size - at : 64) : 0);
        const size_t kind = draw(random, 9), cut = other.len > 0 ? draw(random, other.len) : 0;

        if (kind == 0 && at < size)
            data[at] ^= (uint8_t)(1u << draw(random, 8));
        else if (kind == 1 && at < size)
            data[at] = (uint8_t)draw(random, 256);
        else if (kind == 2)
            size = replace(data, size, max, at, end, (Str){"", 0});
        else if (kind == 3)
            size = replace(data, size, max, at, at, str_of(words[draw(random, sizeof words / sizeof *words)]));
        else if (kind == 4 && size > 0)
            size = change_number(data, size, max, random);
        else if (kind == 5 && size > 0)
            size = repeat(data, size, max, random);
        else if (kind == 6)
            size = replace(data, size, max, at, draw(random, 2) == 0 ? size : end, str_slice(other, cut, other.len));
        else if (kind == 7 && other.len > 0)
            size = replace(data, size, max, at, at, str_slice(other, cut, cut + 1 + draw(random, other.len - cut)));
        else if (draw(random, 16) == 0)
            size = at;
    }
    return size;
}
