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

	/* Of the caller, between extension_enter() and extension_leave(). */
	Oid			user;
	int			sec_context;
	int			guc_level;
} Extension;

extern bool extension_find(Extension *extension);
extern void extension_require(Extension *extension);
extern void extension_require_current(Extension *extension);
extern void extension_enter(Extension *extension);
extern void extension_leave(Extension *extension);

extern void transaction_begin(void);
extern void transaction_commit(void);
extern ErrorData *error_catch(MemoryContext context, int loglevel);
