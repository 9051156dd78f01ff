/*
 * failure.h
 *		What libpq says of a failure, taken apart.
 */
#pragma once

#include "libpq-fe.h"

#include "load/login.h"

extern void failure_from_connect(ConnectResult *result, const PGconn *conn);
extern bool failure_is_unreached(const char *text);
extern void failure_classify(ConnectResult *result);
extern void failure_from_result(ConnectResult *failure, const PGresult *result);
extern void failure_message(const PGresult *result, char *text);
extern int	failure_code(const ConnectResult *failure);
extern char *connect_failure_text(const ConnectResult *failure);
