/*
 * stall.h
 *		Logins that stall.
 */
#pragma once

#include "libpq-fe.h"

typedef enum StallStep
{
	STALL_ON_ITS_WAY,			/* libpq's to go on with */
	STALL_HALF_ASKED,			/* the rest of the question is on its way */
	STALL_ASKED					/* for the password: here it stalls */
} StallStep;

extern StallStep stall_step(PGconn *conn);
extern bool stall_is_over(PGconn *conn);
