/*
 * explain.h
 *		What is wrong, in one sentence: the list of explanations, and what each is.
 *
 * A session is accounted for by the first explanation of the list that does so; those
 * which account for most slots come first in the answer.
 */
#pragma once

#include "base/words.h"

#include "advise/explain/facts.h"

/*
 * EXPLANATION(row): all that it is stands in its row, explanation_<row>.  What is
 * certain comes before what is likely, and a mechanism before the limit that it fills.
 */
#define EXPLANATION_LIST(EXPLANATION) \
	EXPLANATION(run_under_way) \
	EXPLANATION(dead_client) \
	EXPLANATION(stranded_advisory_lock) \
	EXPLANATION(prepared_transaction) \
	EXPLANATION(lock_pile_up) \
	EXPLANATION(borrowed) \
	EXPLANATION(idle_in_transaction) \
	EXPLANATION(abandoned) \
	EXPLANATION(growth) \
	EXPLANATION(listeners) \
	EXPLANATION(stalled_logins) \
	EXPLANATION(limit_below_use) \
	EXPLANATION(role_limit) \
	EXPLANATION(database_limit) \
	EXPLANATION(walsender_limit) \
	EXPLANATION(monitoring) \
	EXPLANATION(slow_statements) \
	EXPLANATION(reconnect_storm) \
	EXPLANATION(many_application_names) \
	EXPLANATION(surge) \
	EXPLANATION(monitor_away) \
	EXPLANATION(ledger_blind) \
	EXPLANATION(activities_off)

#define EXPLANATION_ONE(row)	+ 1
#define EXPLANATIONS			(0 EXPLANATION_LIST(EXPLANATION_ONE))

#define CONFIDENCE_LIST(ROW) \
	ROW(CONFIDENCE_SURE, "sure") \
	ROW(CONFIDENCE_LIKELY, "likely") \
	ROW(CONFIDENCE_CANNOT_TELL, "cannot tell")

typedef enum Confidence
{
	CONFIDENCE_LIST(LIST_MEMBER)
} Confidence;

extern const char *const confidence_names[];

/* The sessions that an explanation accounts for. */
typedef struct Crowd
{
	int			n;
	int			pressed;		/* of pools that have little left */
	const HeldService *service; /* the one with most of them, named; NULL: none, or they log in */
	int			of_service;
	const SessionFacts *longest;	/* in its state; NULL: there is none */
} Crowd;

/* What is wrong.  Texts are palloc'd, or constants. */
typedef struct Finding
{
	const char *cause;
	int			place;			/* in the list */
	bool		urgent;			/* it bears on what is refused, or will be soon */
	int			weight;			/* slots that it accounts for */
	Confidence	confidence;
	const char *sentence;
	const char *evidence;
	const char *next_step;		/* a statement of SQL */
} Finding;

struct Explanation
{
	const char *name;
	bool		recorded;		/* it can be judged by what is recorded of a moment, too: counts, and no session by itself */

	/* Whether a session does what it says, for one that nothing before accounts for; NULL: it is not about sessions. */
	bool		(*accounts_for) (const Explanation *self, const Facts *facts, const SessionFacts *session);

	/*
	 * Whether it is so.  Fills in confidence and texts; what is urgent, and the weight,
	 * are those of the crowd unless it says otherwise.
	 */
	bool		(*judge) (const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding);

	/* What rows that share these functions tell them; each is for one of them. */
	LeakRule	rule;			/* leaked.c */
	const char *what;			/* leaked.c: what its sessions are */
	PoolKind	kind;			/* limits.c */
	const char *column;			/* limits.c: of pool_exhaust_backends, for the name of the pool */
	bool		(*is_root) (const LockRoot *root);	/* locks.c */
};

#define EXPLANATION_DECLARE(row)	extern const Explanation explanation_##row;
EXPLANATION_LIST(EXPLANATION_DECLARE)
#undef EXPLANATION_DECLARE

/* There is an answer in any case, a row more where the causes are not all of it, and one of what was not recorded. */
#define FINDINGS_MAX	(EXPLANATIONS + 2)

extern int	explain(const FactsSource *source, Finding *findings);
extern int	explain_at(TimestampTz at, int blocks_max, bool (*may_see) (Oid role), Finding *findings);
extern int	explain_without_library(Finding *finding, bool may_see_settings);

/* For explanations. */
#define foreach_session_of(facts, explanation, session) \
	foreach_session(facts, session) if (session->explained_by == (explanation))

extern char *crowd_text(const Crowd *crowd);
extern char *longest_text(const Crowd *crowd);
