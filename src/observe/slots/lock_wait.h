/*
 * lock_wait.h
 *		Which sessions wait for a heavyweight lock, since when, and behind which session.
 */
#pragma once

#include "datatype/timestamp.h"

#define LOCK_WAIT_UNKNOWN	(-1)

typedef struct LockWait
{
	int			number;			/* of the PGPROC that waits */
	int			slot;			/* of its session: the same, but for a parallel worker that of its leader */
	int			pid;			/* of its session */
	TimestampTz since;			/* 0: it began a moment ago, and is not known yet */
	int			behind;			/* the row of the session in front of it; LOCK_WAIT_UNKNOWN: that does not wait */
	int			root;			/* the session at the head of its chain, which waits for no lock itself: its
								 * PGPROC; LOCK_WAIT_UNKNOWN: not found, as in a deadlock */
	int			root_pid;		/* 0: a prepared transaction; LOCK_WAIT_UNKNOWN */
	bool		several;		/* other sessions hold the chain up as well: the root is one of several */
} LockWait;

/*
 * Writes a row for each process that waits for a heavyweight lock, in the order of
 * their PGPROCs, and returns how many that are, at most "max".  Room for MaxBackends rows is
 * enough for all; with less, chains that lead to a process without a row have no root.
 *
 * For any process with a PGPROC that holds no LWLock of the lock manager; it needs no
 * transaction.  Throws nothing and allocates nothing.  Takes no lock while no process
 * waits; otherwise it holds the lock manager's in shared mode, as pg_locks does, while
 * it walks the lists of the locks that are awaited, each once.
 */
extern int	lock_waits_read(LockWait *waits, int max);
