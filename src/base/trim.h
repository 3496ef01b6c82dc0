/*
 * Memory that only the start needed.
 */
#pragma once

/* Give it back: freed heap, and the mapped code of the program and its libraries. What is still used comes back from
 * the page cache by itself, a page at a time. */
void trim_memory(void);
