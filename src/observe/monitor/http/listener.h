/*
 * listener.h
 *		Answers over HTTP, without a slot.
 */
#pragma once

#include "event/loop.h"

extern void http_gucs_init(void);

/* The monitor's part. */
extern void http_init(Loop *loop, void (*refresh) (void));
extern void http_configure(bool on);
