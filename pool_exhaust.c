/*
 * pool_exhaust.c
 *		The front door: magic, words, _PG_init.
 *
 * The words of this extension, used alike in C, SQL, settings and documents:
 *
 * slot			a place for one client backend in this server (a regular PGPROC)
 * pool			anything that hands out connections up to a capacity
 * capacity		how many connections a pool can hand out at once; for the server
 *				max_connections - superuser_reserved_connections
 *				- reserved_connections
 * in use, idle, overflow, waiting
 *				connections handed out; open but not handed out; handed out
 *				beyond pool_size; requests in the queue
 * utilization	in use / capacity, 1.0 = full
 * acquire, release
 *				a client asks for a connection; gives it back
 * granted, refused, timed out
 *				the three ends of an acquire: got one; was rejected at once;
 *				waited too long
 * health		healthy, warning, critical, exhausted (health.c)
 * service		the sessions that share a role and an application_name
 * leak			a connection that is held and will not be given back
 * borrower		what a client says of itself while it has a connection
 * scenario, phase, check
 *				a named experiment; a step of it; one comparison of expected
 *				and observed
 * hold			connections held by hand, all or none, until they are released
 * run, verdict	one execution of a scenario; pass, fail, invalid or aborted.
 *				Invalid is not fail: the experiment could not prove anything
 * client		one simulated user of a pool inside a run
 * session		one libpq connection that the extension opened
 * attempt		one try to log in, or to acquire a connection
 * driver		a server that generates load for a run of another server
 * party			one of the services of a run: a role and a pool of its own
 * sub-run		a run that another run has started
 * timeline, series
 *				the samples of the monitor; those of a run
 * recorder, second, gap
 *				what the monitor keeps in a file; what is kept of a second there;
 *				time in which nothing was measured
 * incident		a time in which health was critical or exhausted, or a login was
 *				refused
 * canary		a session that is open before a run and must stay undisturbed
 * scripted session
 *				a session of a run that does what its script says, and keeps
 *				its connection
 */
#include "postgres.h"

#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "advise/explain/explain_page.h"
#include "advise/incident/incident_page.h"
#include "api/run.h"
#include "base/compat.h"
#include "base/health.h"
#include "observe/hooks/hooks.h"
#include "observe/monitor/healer.h"
#include "observe/monitor/health_log.h"
#include "observe/monitor/http/listener.h"
#include "observe/monitor/leak_detector.h"
#include "observe/monitor/monitor.h"
#include "observe/monitor/recorder.h"
#include "observe/monitor/timeline.h"
#include "runner/sweep.h"
#include "shmem/monitor_status.h"
#include "shmem/shared.h"

POOL_EXHAUST_MAGIC;

void
_PG_init(void)
{
	health_init();
	http_gucs_init();
	monitor_status_init();
	leak_detector_gucs_init();
	borrower_gucs_init();
	heal_init();
	health_log_init();
	recorder_init();
	run_init();
	explain_page_init();
	incident_page_init();
	if (process_shared_preload_libraries_in_progress)
		timeline_init();		/* has a setting that is fixed at start */
	MarkGUCPrefixReserved("pool_exhaust");

	/* Without preloading there is no shared memory, and so nothing to hook. */
	if (!process_shared_preload_libraries_in_progress)
	{
		if (creating_extension)
			shared_warn();
		return;
	}
	shared_init();
	refusal_init();
	login_count_init();
	idle_reason_init();
	borrower_init();
	monitor_init(sweep);
}
