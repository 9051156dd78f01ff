/*
 * limit.c
 *		The limits on the way of what is declared, and what adds up against each.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "replication/walsender.h"
#include "utils/builtins.h"

#include "advise/budget/budget.h"
#include "base/compat.h"
#include "base/text.h"
#include "observe/slots/census.h"

const SituationType situation_types[SITUATIONS] = {SITUATION_LIST(LIST_ROW)};

/* Returns the limit of that name, a new one without a capacity if there is none. */
BudgetLimit *
limit_get(Budget *budget, const char *name, bool *found)
{
	char		key[LIMIT_NAME_LEN] = {0};
	BudgetLimit *limit;

	strlcpy(key, name, sizeof(key));
	limit = hash_search(budget->by_name, key, HASH_ENTER, found);
	if (!*found)
	{
		memset((char *) limit + sizeof(key), 0, sizeof(BudgetLimit) - sizeof(key));
		limit->cause = CAUSE_NONE;
		limit->capacity = INFINITY;
		limit->origin = "";
		limit->parts = 1;
		budget->limits = lappend(budget->limits, limit);
	}
	return limit;
}

/* Adds a share, which stays as it is from here on. */
void
limit_add(BudgetLimit *limit, const Share *share)
{
	limit->shares = lappend(limit->shares, (void *) share);
	for (int s = 0; s < SITUATIONS; s++)
		limit->demand[s] += share->demand[s];
}

/* Returns what the service takes at its worst, palloc'd. */
Share *
share_of_service(const DeclaredService *service)
{
	Share	   *share = palloc(sizeof(Share));

	*share = (Share) {psprintf("service %s", service->name), "replica", service->per_replica};
	for (int s = 0; s < SITUATIONS; s++)
		share->demand[s] = service->replicas[s] * service->per_replica;
	return share;
}

/* ---------- The limits of the server ---------- */

/* Gives it what "all" leaves beside others. */
void
limit_set(BudgetLimit *limit, Cause cause, double all, double beside)
{
	limit->cause = cause;
	limit->beside = beside;
	limit->capacity = Max(all - beside, 0);
}

static char *
beside_text(const Budget *budget)
{
	const Beside *beside = &budget->beside;

	if (!beside->known)
		return psprintf("%.0f beside it: what is open now, for without shared_preload_libraries there are no peaks", beside->sessions);
	return psprintf("%.0f beside it: the peaks of %d services that are not declared%s", beside->sessions, beside->services,
					beside->unnamed > 0 ? psprintf(", without %.0f logins of services that found no place among them", beside->unnamed) : "");
}

static BudgetLimit *
limit_server(Budget *budget)
{
	bool		found;
	BudgetLimit *limit = limit_get(budget, "server", &found);

	if (found)
		return limit;
	limit_set(limit, SuperuserReservedConnections + ReservedConnections > 0 ? CAUSE_RESERVED_SLOTS : CAUSE_TOO_MANY_CLIENTS,
			  census_capacity(), budget->beside.sessions);
	limit->beside += SuperuserReservedConnections + ReservedConnections;
	if (budget->memory.known)
		limit->raise = "max_connections =";
	limit->each_kib = budget->memory.active_kib;
	limit->origin = psprintf("%.0f connections: max_connections %d - %d reserved - %s", limit->capacity, MaxConnections,
							 SuperuserReservedConnections + ReservedConnections, beside_text(budget));
	return limit;
}

static BudgetLimit *
limit_walsenders(Budget *budget)
{
	bool		found;
	BudgetLimit *limit = limit_get(budget, "walsenders", &found);

	if (found)
		return limit;
	limit_set(limit, CAUSE_WALSENDER_LIMIT, max_wal_senders, budget->beside.walsenders);
	limit->origin = psprintf("%.0f connections: max_wal_senders %d - %.0f of others now", limit->capacity, max_wal_senders, limit->beside);
	limit->raise = "max_wal_senders =";
	return limit;
}

/* Returns the statement that sets a limit, up to the number; NULL if the name cannot be shown as it is. */
static char *
alter_text(const char *what, const char *name)
{
	const char *quoted = quote_identifier(name);

	return strcmp(text_printable(quoted), quoted) == 0 ? psprintf("ALTER %s %s CONNECTION LIMIT", what, quoted) : NULL;
}

static BudgetLimit *
limit_of_role(Budget *budget, const char *role, int capacity)
{
	bool		found;
	BudgetLimit *limit = limit_get(budget, psprintf("role %s", text_printable(role)), &found);

	if (found)
		return limit;
	limit->of_role = true;
	limit->raise = alter_text("ROLE", role);
	limit->beside = beside_of_role(budget, role);
	if (capacity < 0)
		return limit;
	limit_set(limit, CAUSE_ROLE_LIMIT, capacity, limit->beside);
	limit->origin = psprintf("%.0f connections: CONNECTION LIMIT %d - %.0f of its services that are not declared, at their peaks",
							 limit->capacity, capacity, limit->beside);
	return limit;
}

static BudgetLimit *
limit_of_database(Budget *budget, const char *database, int capacity)
{
	bool		found;
	BudgetLimit *limit = limit_get(budget, psprintf("database %s", text_printable(database)), &found);

	if (found || capacity < 0)
		return limit;
	limit_set(limit, CAUSE_DATABASE_LIMIT, capacity, beside_of_database(budget, database));
	limit->origin = psprintf("%.0f connections: CONNECTION LIMIT %d - %.0f that others have there now",
							 limit->capacity, capacity, limit->beside);
	limit->raise = alter_text("DATABASE", database);
	return limit;
}

/* Adds a share of the role; superusers are exempt from its limit, and that of the database. */
void
limits_add_role(Budget *budget, const char *role, const Share *share)
{
	CatalogEntry facts = facts_of_role(role);

	if (facts.exists && !facts.is_super)
		limit_add(limit_of_role(budget, role, facts.limit), share);
}

void
limits_add_database(Budget *budget, const char *database, const Share *share)
{
	CatalogEntry facts = facts_of_database(database);

	if (facts.exists)
		limit_add(limit_of_database(budget, database, facts.limit), share);
}

void
limits_add_server(Budget *budget, const Share *share)
{
	limit_add(limit_server(budget), share);
}

static void
add_direct(Budget *budget, const DeclaredService *service)
{
	const Share *share = share_of_service(service);

	if (strcmp(service->via, VIA_REPLICATION) == 0)
		limit_add(limit_walsenders(budget), share);
	else
		limits_add_server(budget, share);
	limits_add_role(budget, service->role, share);
	if (!service->is_super)
		limits_add_database(budget, service->database, share);
}

/* Fills in the limits.  Services and what runs beside them are known. */
void
limits_add_up(Budget *budget)
{
	HASHCTL		control = {.keysize = LIMIT_NAME_LEN, .entrysize = sizeof(BudgetLimit), .hcxt = budget->context};
	ListCell   *cell;

	budget->by_name = hash_create("limits", 256, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	(void) limit_server(budget);
	foreach(cell, budget->services)
	{
		const DeclaredService *service = lfirst(cell);

		if (!service_is_pooled(service))
			add_direct(budget, service);
	}
	poolers_add_up(budget);
}

/* ---------- Where a limit is hit ---------- */

bool
limit_is_hit(const BudgetLimit *limit, Situation situation)
{
	return limit->demand[situation] > limit->capacity;
}

/* Returns the most that is asked of it in any situation. */
double
limit_worst(const BudgetLimit *limit)
{
	double		worst = 0;

	for (int s = 0; s < SITUATIONS; s++)
		worst = Max(worst, limit->demand[s]);
	return worst;
}

static int
compare_shares(const void *a, const void *b, void *situation)
{
	const Share *x = *(const Share *const *) a;
	const Share *y = *(const Share *const *) b;
	double		difference = x->demand[*(Situation *) situation] - y->demand[*(Situation *) situation];

	return difference != 0 ? (difference > 0 ? 1 : -1) : strcmp(x->name, y->name);
}

/* Returns the shares of the limit, the smallest in that situation first, palloc'd. */
static const Share **
shares_sorted(const BudgetLimit *limit, Situation situation)
{
	const Share **shares = palloc(sizeof(Share *) * Max(list_length(limit->shares), 1));
	ListCell   *cell;

	foreach(cell, limit->shares)
		shares[foreach_current_index(cell)] = lfirst(cell);
	qsort_arg(shares, list_length(limit->shares), sizeof(Share *), compare_shares, &situation);
	return shares;
}

/*
 * Returns where a limit is hit that is hit in this situation, if the smaller shares are
 * there first: so that the larger ones are named, which are worth looking at.
 */
Crossing
limit_crossing(const BudgetLimit *limit, Situation situation)
{
	const Share **shares = shares_sorted(limit, situation);
	double		left = floor(limit->capacity);
	Crossing	crossing = {.connections = left};

	for (int i = 0; i < list_length(limit->shares); i++)
	{
		const Share *share = shares[i];

		if (left >= share->demand[situation])
		{
			left -= share->demand[situation];
			continue;
		}
		crossing.share = share;
		crossing.unit = share->unit[0] != '\0' ? floor(left / share->per_unit) + 1 : 0;
		break;
	}
	return crossing;
}
