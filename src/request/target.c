/*
 * target.c
 *		What a run can aim at: the pools of this server by their kind, and
 *		foreign servers by their name.
 */
#include "postgres.h"

#include "request/options.h"
#include "request/target.h"
#include "target/foreign.h"
#include "target/target.h"

/* "server, role, foreign servers of kind pgbouncer": those of a set. */
static char *
targets_list(int targets)
{
	StringInfoData list;
	bool		foreign = false;

	initStringInfo(&list);
	for (int i = 0; i < TARGET_KINDS; i++)
	{
		if ((targets & (1 << i)) == 0)
			continue;
		if (list.len > 0)
			appendStringInfoString(&list, ", ");
		if (target_types[i]->foreign && !foreign)
			appendStringInfoString(&list, "foreign servers of kind ");
		foreign |= target_types[i]->foreign;
		appendStringInfoString(&list, target_types[i]->name);
	}
	return list.data;
}

/* Sets a target of that kind, which is not a foreign server. */
void
target_set(TargetKind kind, RunRequest *request)
{
	request->target = kind;
	strlcpy(request->target_name, target_types[kind]->name, NAMEDATALEN);
}

/*
 * Finds the target of that name: a pool of this server, or else a foreign
 * server, which the caller must have USAGE on.  ERROR with the list if there is
 * none.
 */
void
target_find(const char *name, RunRequest *request)
{
	int			kind = target_find_kind(name, false);

	if (kind >= 0)
		target_set(kind, request);
	else if (!foreign_find(name, request))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("target \"%s\" does not exist", name),
				 errhint("Targets are: %s, by their names.  View pool_exhaust_pools lists those.",
						 targets_list(ON_ALL))));
}

/* ERROR if the scenario cannot aim at the target of the plan. */
void
target_require(const Scenario *scenario, const RunRequest *request)
{
	if ((scenario->targets & (1 << request->target)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s cannot aim at target \"%s\"%s", scenario_subject(scenario), request->target_name,
						target_types[request->target]->foreign
						? psprintf(", a foreign server of kind %s", target_types[request->target]->name) : ""),
				 errhint("It can aim at: %s.", targets_list(scenario->targets))));
}
