/*
 * What the benchmark's three programs share: the clock, a listener, the request they agree on.
 */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NANO 1000000000ull

/* A streamed event carries `@SEQUENCE STAMP`: 8 and 20 digits, the stamp being CLOCK_MONOTONIC at its
 * write(). */
#define STAMP_SEQUENCE_DIGITS 8
#define STAMP_CLOCK_DIGITS    20
#define STAMP_LENGTH          (1 + STAMP_SEQUENCE_DIGITS + 1 + STAMP_CLOCK_DIGITS)

/* An answer's id is this mark and the question's nonce, so that nobody gets somebody else's answer unseen. */
#define NONCE_MARK   "q-"
#define NO_NONCE     "000000000000"
#define NONCE_DIGITS 12

static inline uint64_t clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NANO + (uint64_t)now.tv_nsec;
}

_Noreturn static inline void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static inline void *must_alloc(size_t size)
{
    void *memory = calloc(1, size);

    if (!memory)
        die("calloc");
    return memory;
}

/* As many descriptors as the hard limit gives. */
static inline void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static inline struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static inline void set_nodelay(int fd)
{
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static inline void put_digits(char *end, uint64_t value, int digits)
{
    while (digits-- > 0) {
        *--end = (char)('0' + value % 10);
        value /= 10;
    }
}
