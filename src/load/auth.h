/*
 * auth.h
 *		What a login may be asked for by the other side, and granted for.
 */
#pragma once

#include "libpq-fe.h"

#include "load/login.h"

typedef enum AuthStep
{
	AUTH_GO_ON,					/* libpq's to go on with */
	AUTH_INCOMPLETE,			/* the rest of the request is on its way */
	AUTH_DENIED					/* libpq must not see it */
} AuthStep;

extern bool auth_has_require(void);
extern void auth_restrict(Login *login, AuthRule rule);
extern bool auth_peer_is_right(const Login *login, const PGconn *conn);
extern AuthStep auth_step(const Login *login, PGconn *conn);
extern bool auth_is_right(const Login *login, const PGconn *conn);
extern bool auth_failed(const Login *login, const PGconn *conn);
extern void auth_deny(const Login *login, ConnectResult *result);
