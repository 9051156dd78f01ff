/*
 * strategy.c
 *		What the healer does about leaks: the strategies, and which sessions they spare.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/varlena.h"

#include "base/compat.h"
#include "observe/monitor/strategy.h"

const Strategy strategies[STRATEGIES] = {STRATEGY_LIST(LIST_ROW)};

#define DEFAULT_STRATEGIES LIST_TEXT(STRATEGY_LIST)

static const struct config_enum_entry certainties[] = {
#define CERTAINTY_ENTRY(member, word)	{word, member, false},
	LEAK_CERTAINTY_LIST(CERTAINTY_ENTRY)
	{NULL, 0, false}
};

int			heal_certainty = LEAK_LIKELY;

static char *heal_strategies;
static char *heal_exclude_roles;

const int  *strategies_in_order;

/* Names of no role in heal_exclude_roles, for this value of the setting. */
static bool excluded_reported;

static int
strategy_find(const char *name)
{
	for (int i = 0; i < STRATEGIES; i++)
		if (strcmp(strategies[i].name, name) == 0)
			return i;
	return NO_STRATEGY;
}

static bool
names_split(const char *value, List **names)
{
	bool		valid = SplitIdentifierString(pstrdup(value), ',', names);

	if (!valid)
		GUC_check_errdetail("List syntax is invalid.");
	return valid;
}

static bool
heal_strategies_check(char **newval, void **extra, GucSource source)
{
	List	   *names;
	int		   *order;
	int			n = 0;
	ListCell   *lc;

	if (!names_split(*newval, &names))
		return false;
	order = compat_guc_malloc(sizeof(int) * (STRATEGIES + 1));
	if (order == NULL)
		return false;
	foreach(lc, names)
	{
		int			strategy = strategy_find(lfirst(lc));
		bool		again = false;

		for (int i = 0; i < n; i++)
			again |= order[i] == strategy;
		if (strategy == NO_STRATEGY || again)
		{
			GUC_check_errdetail("\"%s\" %s.", (char *) lfirst(lc), again ? "is named twice" : "is no strategy");
			GUC_check_errhint("Strategies are: %s.", DEFAULT_STRATEGIES);
			compat_guc_free(order);
			return false;
		}
		order[n++] = strategy;
	}
	order[n] = NO_STRATEGY;
	*extra = order;
	return true;
}

static void
heal_strategies_assign(const char *newval, void *extra)
{
	strategies_in_order = extra;
}

static bool
heal_exclude_roles_check(char **newval, void **extra, GucSource source)
{
	List	   *names;

	return names_split(*newval, &names);
}

static void
heal_exclude_roles_assign(const char *newval, void *extra)
{
	excluded_reported = false;
}

void
strategy_init(void)
{
	DefineCustomStringVariable("pool_exhaust.heal_strategies",
							   "What the healer does, in this order.",
							   MemoryContextStrdup(TopMemoryContext, psprintf("Strategies are: %s.", DEFAULT_STRATEGIES)),
							   &heal_strategies, DEFAULT_STRATEGIES,
							   PGC_SIGHUP, GUC_LIST_INPUT,
							   heal_strategies_check, heal_strategies_assign, NULL);
	DefineCustomEnumVariable("pool_exhaust.heal_certainty",
							 "How certain it must be at the least that a session is a leak, for the healer to end it.",
							 NULL,
							 &heal_certainty, LEAK_LIKELY, certainties,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("pool_exhaust.heal_exclude_roles",
							   "Roles whose sessions the healer never ends.",
							   NULL,
							   &heal_exclude_roles, "",
							   PGC_SIGHUP, GUC_LIST_INPUT,
							   heal_exclude_roles_check, heal_exclude_roles_assign, NULL);
}

/* Does the strategy deal with such a suspect? */
bool
strategy_is_for(int number, const LeakSession *session)
{
	const Strategy *strategy = &strategies[number];

	return strategy->rule == session->rule && strategy->certainty == leak_certainty(session);
}

/* The strategy in force that deals with such a suspect, or NO_STRATEGY. */
int
strategy_of(const LeakSession *session)
{
	for (const int *s = strategies_in_order; *s != NO_STRATEGY; s++)
		if (strategy_is_for(*s, session))
			return *s;
	return NO_STRATEGY;
}

/* Does heal_exclude_roles name the role?  A name of no role spares no session, so it is reported. */
static bool
role_is_excluded(Oid role)
{
	bool		excluded = false;
	List	   *names;
	ListCell   *lc;

	if (!SplitIdentifierString(pstrdup(heal_exclude_roles), ',', &names))
		return false;
	foreach(lc, names)
	{
		Oid			named = get_role_oid(lfirst(lc), true);

		excluded |= named == role;
		if (!OidIsValid(named) && !excluded_reported)
			ereport(WARNING,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("role \"%s\" of pool_exhaust.heal_exclude_roles does not exist", (char *) lfirst(lc)),
					 errhint("Names with capitals need double quotes within the setting.")));
	}
	excluded_reported = true;
	return excluded;
}

/*
 * Why the session in the slot must be let alone; NULL if it may be ended, and is as
 * certain as that.  Needs a transaction.
 */
const char *
strategy_why_spared(const LeakSession *session, const Slot *slot, int certainty)
{
	if (slot->state == SLOT_ACTIVE)
		return "spared: it runs a statement";
	if (strategy_of(session) == NO_STRATEGY)
		return "spared: no strategy in pool_exhaust.heal_strategies";
	if ((int) leak_certainty(session) > certainty)
		return "spared: less certain than pool_exhaust.heal_certainty";
	if (superuser_arg(slot->role))
		return "spared: a superuser";
	if (role_is_excluded(slot->role))
		return "spared: a role of pool_exhaust.heal_exclude_roles";
	return NULL;
}

/* Returns the names of those in force among a set (1 << number), in their order, palloc'd. */
char *
strategies_text(int set)
{
	StringInfoData text;

	initStringInfo(&text);
	for (const int *s = strategies_in_order; *s != NO_STRATEGY; s++)
		if (set & (1 << *s))
			appendStringInfo(&text, "%s%s", text.len > 0 ? " > " : "", strategies[*s].name);
	return text.data;
}

/* Returns how certain a leak must be at the least for the strategies of the set to end it. */
LeakCertainty
strategies_certainty(int set)
{
	LeakCertainty certainty = LEAK_CERTAIN;

	for (int i = 0; i < STRATEGIES; i++)
		if (set & (1 << i))
			certainty = Max(certainty, strategies[i].certainty);
	return certainty;
}

/* Returns whether all strategies of the set are in force. */
bool
strategies_in_force(int set)
{
	for (const int *s = strategies_in_order; *s != NO_STRATEGY; s++)
		set &= ~(1 << *s);
	return set == 0;
}
