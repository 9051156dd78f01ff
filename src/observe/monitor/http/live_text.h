/*
 * live_text.h
 *		Names and moments, as the page /report shows them.
 */
#pragma once

#include "datatype/timestamp.h"

extern char *live_name(const char *name);
extern char *live_service(const char *usename, const char *application_name);
extern char *live_time(TimestampTz at);
