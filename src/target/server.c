/*
 * server.c
 *		Target "server": all slots of this server that are not reserved.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "observe/slots/census.h"
#include "target/server_pool.h"
#include "target/target.h"

/* All that is left. */
static int
server_needed(const Scenario *scenario, const Options *options, const Census *census,
			  int others, char **asked)
{
	return Max(census->capacity - census->in_use, 0);
}

/*
 * The roles of holds under way, which are no bystanders.  Fills "roles", which
 * has room for RUNS_MAX, and returns how many there are.
 */
static int
hold_roles(Oid *roles)
{
	int			n = 0;

	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < RUNS_MAX; i++)
		if (request_is_hold(&shared->runs[i].request) && OidIsValid(shared->runs[i].roles[0]))
			roles[n++] = shared->runs[i].roles[0];
	LWLockRelease(shared->lock);
	return n;
}

/* ERROR if filling the server would refuse bystanders, unless an option allows it. */
static void
server_require_alone(const RunRequest *request, const Options *options)
{
	Oid			ours[1 + RUNS_MAX] = {request->owner};
	Oid			bystander;
	int			n;

	if (options->bystanders != BYSTANDERS_REFUSE)
		return;
	n = 1 + hold_roles(ours + 1);
	n = census_other_sessions(ours, n, &bystander);
	if (n > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("%d client sessions of other roles are connected, and filling the server would refuse their next logins",
						n),
				 errdetail("One of them belongs to role \"%s\".",
						   GetUserNameFromId(bystander, true) ? GetUserNameFromId(bystander, true) : "?"),
				 errhint("Aim at target role, which leaves them alone, or set option bystanders to abort (release everything at the first refusal of another client) or ignore.")));
}

const TargetType target_server = {
	.name = "server",
	.exclusive = true,
	TARGET_ON_THIS_SERVER,
	.monitored_as = POOL_SERVER,
	.require_alone = server_require_alone,
	.needed = server_needed,
	.pool_type = &pool_server,
	.pool = server_pool_open,
};
