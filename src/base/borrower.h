/*
 * borrower.h
 *		What a session says of its borrower.
 */
#pragma once

#include "datatype/timestamp.h"

#define BORROWER_LEN	128		/* bytes of a borrower, with the zero at the end */

/* As printable text in the encoding of the session's database. */
typedef struct Borrower
{
	bool		named;			/* the session has named a borrower, now or before */
	TimestampTz since;			/* when the name was set last */
	char		name[BORROWER_LEN]; /* empty: it is not borrowed */
} Borrower;

/* Was the session borrowed when its state began, at that time?  A later name is that of the next borrower. */
static inline bool
is_borrowed_at(const Borrower *borrower, TimestampTz at)
{
	return borrower->name[0] != '\0' && borrower->since <= at;
}
