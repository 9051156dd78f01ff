/*
 * stall.h
 *		Logins that stall.
 */
#ifndef POOL_EXHAUST_LOAD_STALL_H
#define POOL_EXHAUST_LOAD_STALL_H

#include "libpq-fe.h"

typedef enum StallStep
{
	STALL_ON_ITS_WAY,			/* libpq's to go on with */
	STALL_HALF_ASKED,			/* the rest of the question is on its way */
	STALL_ASKED					/* for the password: here it stalls */
} StallStep;

extern StallStep stall_step(PGconn *conn);
extern bool stall_is_over(PGconn *conn);

#endif							/* POOL_EXHAUST_LOAD_STALL_H */
