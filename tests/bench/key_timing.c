/*
 * Does the time of a wrong key tell how near it came? After dudect (Reparaz, Balasch, Verbauwhede, "Dude, is my code
 * constant time?", DATE 2017): digest and look-up of keys of several classes, in random order, and Welch's t between
 * each two of them. Below 4.5 there is no evidence of a difference.
 *
 *     build as admission.c
 *     ./a.out [ROUNDS]                       the last line is `t at most N: good` or `: bad`; 0 or 1
 *
 * Classes: one of the keys with its first byte changed, with its last byte changed, and a text that has nothing of it.
 * And digests themselves, the look-up alone: a digest whose first byte is wrong, whose last byte is wrong, and any other.
 * Measured is a batch of several calls with the counter of the processor; slow samples (interrupts) are cropped at
 * several percentiles, each a test of its own, as dudect does. Inputs are made anew for each few thousand samples, and
 * before these begin: so no class has addresses of its own, and none leaves the caches otherwise than another.
 */
#include "admit/keyring.h"
#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define KEYS 10000
#define CLASSES 3
#define TEXT 46
#define BATCH 8
#define CROPS 6
#define CHUNK 4096          /* samples whose inputs are made at once */
#define LIMIT 4.5

static const char *const class_names[CLASSES] = {"wrong first byte", "wrong last byte", "unknown"};

struct sums {
    double count, mean, squares;
};

struct input {
    char text[TEXT];
    uint8_t digest[DIGEST_SIZE];
};

struct sample {
    int class;
    double ticks;
    struct input inputs[BATCH];
};

struct timing {
    struct keyring *keyring;
    struct digest *digest;
    const struct config_keys *keys;
    char (*texts)[TEXT];
    struct sample samples[CHUNK];
    bool whole;                 /* the digest of the text as well */
    double crops[CROPS];
    struct sums sums[CROPS][CLASSES];
    const struct config_key *volatile found;
};

static uint64_t state = 1;

static uint64_t next_random(void)
{
    uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t ticks(void)
{
#if defined(__x86_64__)
    unsigned processor;

    return __builtin_ia32_rdtscp(&processor);
#else
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
#endif
}

/* --- keys --- */

static char random_letter(void)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    return letters[next_random() % 64];
}

static void random_text(char text[TEXT])
{
    for (int i = 0; i < TEXT; i++)
        text[i] = i < 3 ? "eg-"[i] : random_letter();
}

/* As many different ones as there are keys with one wrong byte: fewer would be better known to the caches. */
static void other_text(char text[TEXT], uint64_t number)
{
    uint64_t kept = state;

    state = ~number;
    random_text(text);
    state = kept;
}

static void digest_of(struct digest *digest, const char text[TEXT], uint8_t ret[DIGEST_SIZE])
{
    digest_begin(digest);
    digest_add(digest, (struct bytes){text, TEXT});
    digest_end(digest, ret);
}

static struct config_keys *make_keys(struct digest *digest, char (*texts)[TEXT])
{
    struct config_keys *keys = ALLOC_NEW(struct config_keys);

    keys->references = 1;
    keys->count = KEYS;
    keys->list = arena_zeroed(&keys->arena, KEYS * sizeof(*keys->list));
    for (uint32_t i = 0; i < KEYS; i++) {
        random_text(texts[i]);
        digest_of(digest, texts[i], keys->list[i].digest);
    }
    return keys;
}

static void make_input(struct timing *timing, int class, struct input *input)
{
    uint32_t key = (uint32_t)(next_random() % KEYS);
    uint64_t ways = timing->whole ? 63 : 255;   /* to get one byte wrong */
    size_t wrong = class == 0 ? 0 : TEXT - 1;

    memcpy(input->text, timing->texts[key], TEXT);
    if (class == 2)
        other_text(input->text, key * ways + next_random() % ways);
    while (class != 2 && input->text[wrong] == timing->texts[key][wrong])
        input->text[wrong] = random_letter();
    digest_of(timing->digest, input->text, input->digest);
    if (timing->whole || class == 2)
        return;
    memcpy(input->digest, timing->keys->list[key].digest, DIGEST_SIZE);
    input->digest[class == 0 ? 0 : DIGEST_SIZE - 1] ^= (uint8_t)(1 + next_random() % 255);
}

/* --- measuring --- */

static void take_sample(struct timing *timing, struct sample *sample)
{
    uint8_t digest[DIGEST_SIZE];
    uint64_t start = ticks();

    for (int i = 0; i < BATCH; i++) {
        if (timing->whole)
            digest_of(timing->digest, sample->inputs[i].text, digest);
        timing->found = keyring_find(timing->keyring, timing->whole ? digest : sample->inputs[i].digest);
    }
    sample->ticks = (double)(ticks() - start);
}

static void take_chunk(struct timing *timing)
{
    for (int i = 0; i < CHUNK; i++) {
        timing->samples[i].class = (int)(next_random() % CLASSES);
        for (int j = 0; j < BATCH; j++)
            make_input(timing, timing->samples[i].class, &timing->samples[i].inputs[j]);
    }
    for (int i = 0; i < CHUNK; i++)
        take_sample(timing, &timing->samples[i]);
}

static int by_value(const void *a, const void *b)
{
    double one = *(const double *)a, other = *(const double *)b;

    return (one > other) - (one < other);
}

static void choose_crops(struct timing *timing)
{
    static const double shares[CROPS] = {1, 0.99, 0.95, 0.9, 0.75, 0.5};
    static double values[CHUNK];

    take_chunk(timing);
    take_chunk(timing);
    for (int i = 0; i < CHUNK; i++)
        values[i] = timing->samples[i].ticks;
    qsort(values, CHUNK, sizeof(*values), by_value);
    for (int i = 0; i < CROPS; i++)
        timing->crops[i] = shares[i] < 1 ? values[(size_t)(shares[i] * CHUNK)] : INFINITY;
}

static void add(struct sums *sums, double value)
{
    double difference = value - sums->mean;

    sums->count++;
    sums->mean += difference / sums->count;
    sums->squares += difference * (value - sums->mean);
}

static double welch(const struct sums *a, const struct sums *b)
{
    double error = a->squares / (a->count - 1) / a->count + b->squares / (b->count - 1) / b->count;

    return error > 0 ? fabs(a->mean - b->mean) / sqrt(error) : 0;
}

static double largest(const struct timing *timing)
{
    double most = 0;

    for (int class = 0; class < CLASSES; class++) {
        int other = (class + 1) % CLASSES;
        double of_pair = 0;

        for (int crop = 0; crop < CROPS; crop++)
            of_pair = fmax(of_pair, welch(&timing->sums[crop][class], &timing->sums[crop][other]));
        printf("  %-16s / %-16s  %6.1f / %6.1f ticks  t %.2f\n", class_names[class], class_names[other],
               timing->sums[3][class].mean / BATCH, timing->sums[3][other].mean / BATCH, of_pair);
        most = fmax(most, of_pair);
    }
    return most;
}

static void add_sample(struct timing *timing, const struct sample *sample)
{
    for (int crop = 0; crop < CROPS; crop++) {
        if (sample->ticks < timing->crops[crop])
            add(&timing->sums[crop][sample->class], sample->ticks);
    }
}

static double measure(struct timing *timing, uint64_t rounds)
{
    memset(timing->sums, 0, sizeof(timing->sums));
    choose_crops(timing);
    for (uint64_t round = 0; round < rounds; round += CHUNK) {
        take_chunk(timing);
        for (int i = 0; i < CHUNK; i++)
            add_sample(timing, &timing->samples[i]);
    }
    return largest(timing);
}

int main(int argc, char **argv)
{
    static struct timing timing;
    static char texts[KEYS][TEXT];
    uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    struct config_keys *keys;
    double most = 0;

    timing.digest = digest_new(BYTES_NONE);
    timing.keys = keys = make_keys(timing.digest, texts);
    timing.texts = texts;
    timing.keyring = keyring_new(keys, NULL);
    for (int whole = 1; whole >= 0; whole--) {
        timing.whole = whole;
        printf("%s, %u keys\n", whole ? "digest and look-up" : "look-up alone", KEYS);
        most = fmax(most, measure(&timing, rounds));
    }
    keyring_unref(timing.keyring);
    config_keys_unref(keys);
    digest_free(timing.digest);
    printf("t at most %.2f: %s\n", most, most < LIMIT ? "good" : "bad");
    return most < LIMIT ? 0 : 1;
}
