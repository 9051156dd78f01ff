/*
 * lock_wait.c
 *		Which lock a process waits for, from the lock table alone: no catalog is
 *		read, and no transaction needed.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "request/lock_wait.h"

/* More are not named. */
#define HOLDERS_MAX	5

/* The processes that a process waits for, as text, palloc'd. */
static char *
holders_text(int pid)
{
	ArrayType  *array = DatumGetArrayTypeP(DirectFunctionCall1(pg_blocking_pids, Int32GetDatum(pid)));
	int			n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	const int32 *pids = (const int32 *) ARR_DATA_PTR(array);
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < Min(n, HOLDERS_MAX); i++)
		appendStringInfo(&text, "%s%d", i > 0 ? ", " : "", pids[i]);
	return text.data;
}

/* Returns the lock that the process waits for, and which processes hold it; palloc'd.  NULL if it waits for none. */
char *
lock_wait_text(int pid)
{
	const LockData *data = GetLockStatusData();
	StringInfoData text;
	char	   *holders;

	for (int i = 0; i < data->nelements; i++)
	{
		const LockInstanceData *lock = &data->locks[i];

		if (lock->pid != pid || lock->waitLockMode == NoLock)
			continue;
		initStringInfo(&text);
		appendStringInfo(&text, "it waits for %s on ",
						 GetLockmodeName(lock->locktag.locktag_lockmethodid, lock->waitLockMode));
		DescribeLockTag(&text, &lock->locktag);
		holders = holders_text(pid);
		if (holders[0] != '\0')
			appendStringInfo(&text, ", which is held by process %s", holders);
		return text.data;
	}
	return NULL;
}
