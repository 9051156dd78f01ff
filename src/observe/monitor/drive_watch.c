/*
 * drive_watch.c
 *		Drives that do not move any more.
 *
 * The connections of a drive belong to the backend of its coordinator's session, and end
 * with it.  One that is stopped notices neither that its coordinator has given it up nor
 * that its time is over: so it is terminated, and woken, and closes them before it does
 * anything else.  Who says that it drives, and until when, is the session itself.
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"

#include "observe/monitor/drive_watch.h"
#include "shmem/drives.h"

/* While there are drives they are checked that often. */
#define CHECK_MS	100

static uv_timer_t timer;
static bool due;

static void
timer_fired(uv_timer_t *handle)
{
	due = true;
}

void
drive_watch_init(Loop *loop)
{
	uv_timer_init(&loop->uv, &timer);
}

static void
end_overdue(void)
{
	for (int i = 0; i < MaxConnections; i++)
	{
		int			pid = drive_overdue(i);

		if (pid == 0)
			continue;
		ereport(LOG,
				(errmsg("pool_exhaust: terminating the session with pid %d, which drives load for another server and does not move", pid)));
		kill(pid, SIGTERM);
		kill(pid, SIGCONT);
	}
}

/* At each turn of the monitor. */
void
drive_watch_turn(void)
{
	bool		drives = pg_atomic_read_u32(&shared->drives) > 0;

	if (due)
		end_overdue();
	due = false;
	if (!drives)
		uv_timer_stop(&timer);
	else if (!uv_is_active((uv_handle_t *) &timer))
		uv_timer_start(&timer, timer_fired, CHECK_MS, CHECK_MS);
}
