/*
 * Words that are a letter or two apart: the classic edit distance, where a swap of neighbours counts as one
 * step. For short words only.
 */
#include "config/suggest.h"

#define SUGGEST_MAX 32 /* longer words get no suggestion */

static uint32_t least(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t smaller = a < b ? a : b;

    return smaller < c ? smaller : c;
}

/* How many letters must be added, removed, replaced or swapped with the next one. */
static uint32_t distance(struct bytes one, struct bytes other)
{
    uint32_t rows[3][SUGGEST_MAX + 1]; /* by the letters of ONE, the last three */
    uint32_t *last = rows[0];

    for (uint32_t j = 0; j <= other.size; j++)
        last[j] = j;
    for (uint32_t i = 1; i <= one.size; i++) {
        const uint32_t *before = rows[(i + 1) % 3], *above = last;

        last = rows[i % 3];
        last[0] = i;
        for (uint32_t j = 1; j <= other.size; j++) {
            const char *a = one.data + i - 1, *b = other.data + j - 1;
            bool swapped = i > 1 && j > 1 && a[0] == b[-1] && a[-1] == b[0];

            last[j] = least(above[j] + 1, last[j - 1] + 1, above[j - 1] + (*a != *b));
            if (swapped && before[j - 2] < last[j])
                last[j] = before[j - 2] + 1;
        }
    }
    return last[other.size];
}

void nearest_try(struct nearest *nearest, const char *candidate)
{
    struct bytes word = bytes_of(candidate);
    uint32_t far;

    if (nearest->word.size > SUGGEST_MAX || word.size > SUGGEST_MAX)
        return;
    far = distance(nearest->word, word);
    if (far <= word.size / 3 && (!nearest->best || far < nearest->distance)) {
        nearest->best = candidate;
        nearest->distance = far;
    }
}

struct bytes nearest_hint(struct report *report, const struct nearest *nearest)
{
    if (!nearest->best)
        return BYTES("");
    return arena_printf(&report->arena, "; did you mean \"%s\"?", nearest->best);
}
