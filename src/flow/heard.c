/*
 * The digest of the words is the place in the table. Only places that were learned cost memory.
 */
#include "flow/heard.h"

#include "base/alloc.h"

#define PLACES 4096

struct place {
    uint8_t words[DIGEST_SIZE];
    struct heard_question question;
    char *asked;                /* NULL: nothing learned here */
};

struct heard {
    struct place places[PLACES];
};

struct heard *heard_new(void)
{
    return ALLOC_NEW(struct heard);
}

struct heard *heard_free(struct heard *heard)
{
    for (size_t i = 0; heard && i < PLACES; i++)
        alloc_free(heard->places[i].asked);
    return alloc_free(heard);
}

static size_t place_of(const uint8_t words[DIGEST_SIZE])
{
    return ((size_t)words[0] << 8 | words[1]) % PLACES;
}

const struct heard_question *heard_find(const struct heard *heard, const uint8_t words[DIGEST_SIZE])
{
    const struct place *place = &heard->places[place_of(words)];

    return place->asked && digest_equal(place->words, words) ? &place->question : NULL;
}

void heard_learn(struct heard *heard, const uint8_t words[DIGEST_SIZE], const struct heard_question *question)
{
    struct place *place = &heard->places[place_of(words)];

    alloc_free(place->asked);
    memcpy(place->words, words, DIGEST_SIZE);
    place->question = *question;
    place->asked = memcpy(alloc_bytes(question->asked.size + 1), question->asked.data, question->asked.size);
    place->question.asked.data = place->asked;
}
