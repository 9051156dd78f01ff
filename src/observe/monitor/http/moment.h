/*
 * moment.h
 *		Moments that pages are asked for.
 */
#pragma once

#include "datatype/timestamp.h"

#define MOMENT_HINT	"at is like 2026-11-28T02:47:00 or 2026-11-28T02:47:00Z, or seconds since 1970"

/* False if the text is none. */
extern bool moment_parse(const char *text, TimestampTz *at);
