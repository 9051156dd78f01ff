/*
 * statement.h
 *		One SQL statement of ours, with SPI: what its names stand for is checked
 *		before it runs.
 */
#pragma once

#include "sql/extension.h"

extern void statement_run(const Extension *extension, const char *sql, int expected, int nargs,
						  Oid *types, Datum *values);
extern char *statement_text(int row, int column);
