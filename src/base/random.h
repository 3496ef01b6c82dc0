/*
 * Unguessable identifiers. The door to libcrypto's generator.
 */
#pragma once

#include <stdint.h>

#define RANDOM_ID_SIZE 32

/* 128 random bits as 32 hex digits; ID is not terminated. */
void random_id(char id[RANDOM_ID_SIZE]);

uint64_t random_u64(void);
