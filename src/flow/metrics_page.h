/*
 * GET /metrics.
 */
#pragma once

#include "flow/exchange.h"

enum verdict metrics_page(struct exchange *x);
