/*
 * failure.h
 *		What libpq says of a failure, taken apart.
 */
#ifndef POOL_EXHAUST_LOAD_FAILURE_H
#define POOL_EXHAUST_LOAD_FAILURE_H

#include "libpq-fe.h"

#include "load/login.h"

extern void failure_from_connect(ConnectResult *result, const PGconn *conn);
extern void failure_message(const PGresult *result, char *text);
extern char *connect_failure_text(const ConnectResult *failure);

#endif							/* POOL_EXHAUST_LOAD_FAILURE_H */
