/*
 * Private to json_doc.c: where strings stand, seen ahead of the parser.
 */
#pragma once

#include "json/json_doc.h"

/* Go on over the text that is known to be UTF-8, to the end of the next long string: its inside, to
 * *RET_INSIDE. Short strings are passed over. False at the end of that text; doc->string_start then tells the
 * string that is open there. Until the parser refuses the text, it takes the same quotes for the ends of
 * strings. */
bool json_scan_long_string(struct json_doc *doc, struct bytes *ret_inside);

/* Whether the parser would take a string with this INSIDE, and nothing escaped in it is refused here. */
bool json_scan_is_good(struct bytes inside, bool *ret_escaped);
