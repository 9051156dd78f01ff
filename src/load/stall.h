/*
 * stall.h
 *		Sessions that do not behave: logins that stall, clients that vanish.
 */
#ifndef POOL_EXHAUST_LOAD_STALL_H
#define POOL_EXHAUST_LOAD_STALL_H

#include "load/session.h"

typedef enum StallStep
{
	STALL_ON_ITS_WAY,			/* libpq's to go on with */
	STALL_HALF_ASKED,			/* the rest of the question is on its way */
	STALL_ASKED					/* for the password: here it stalls */
} StallStep;

extern StallStep stall_look(PGconn *conn);
extern bool stall_is_over(PGconn *conn);
extern void session_hang_up(Session *session);

#endif							/* POOL_EXHAUST_LOAD_STALL_H */
