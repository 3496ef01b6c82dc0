/*
 * Words that are a letter or two apart: the classic edit distance, for short words only.
 */
#include "config/suggest.h"

#define SUGGEST_MAX 32 /* longer words get no suggestion */

static uint32_t least(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t smaller = a < b ? a : b;

    return smaller < c ? smaller : c;
}

/* How many letters must be added, removed or replaced. */
static uint32_t distance(struct bytes one, struct bytes other)
{
    uint32_t row[SUGGEST_MAX + 1];

    for (uint32_t j = 0; j <= other.size; j++)
        row[j] = j;
    for (uint32_t i = 1; i <= one.size; i++) {
        uint32_t corner = row[0];

        row[0] = i;
        for (uint32_t j = 1; j <= other.size; j++) {
            uint32_t above = row[j];

            row[j] = least(above + 1, row[j - 1] + 1, corner + (one.data[i - 1] != other.data[j - 1]));
            corner = above;
        }
    }
    return row[other.size];
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
