/*
 * Descriptors 0 to 2.
 */
#pragma once

/* Those that are closed are taken, so that nothing else becomes them. What is written there still fails. */
void standard_occupy(void);
