/*
 * extension.h
 *		Where the extension's own tables are, and a transaction to use them in.
 */
#pragma once

#include "executor/spi.h"

typedef struct Extension
{
	Oid			oid;
	Oid			owner;
	char	   *schema;			/* quoted; these two in the current memory context */
	char	   *version;		/* of its SQL objects */
} Extension;

extern bool extension_find(Extension *extension);
extern void extension_require(Extension *extension);
extern void extension_require_current(Extension *extension);

extern void transaction_set_gucs(void);
extern void transaction_begin(void);
extern void transaction_commit(void);
extern ErrorData *error_catch(MemoryContext context, int loglevel);

/* SPI with nothing left to check: ERROR unless it did what it says. */
extern void spi_run(const char *sql, int expected, int nargs, Oid *types, Datum *values);
extern char *spi_text(int row, int column);
