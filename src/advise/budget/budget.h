/*
 * budget.h
 *		Do the pools add up: what is declared against every limit on the way.
 *
 * A service is declared with its pools: a row of table pool_exhaust_declared.  Its worst
 * case is a share of each limit on its way to the server, and a limit is hit where its
 * shares are more than its capacity.  Numbers are doubles: the bounds of the table keep
 * all sums exact.
 */
#pragma once

#include "nodes/pg_list.h"
#include "utils/hsearch.h"

#include "base/cause.h"
#include "base/comparison.h"
#include "base/words.h"
#include "sql/extension.h"

/* What a service has running at its worst: the word, and how a sentence says it. */
#define SITUATION_LIST(ROW) \
	ROW(SITUATION_REST, "at rest", "at rest, with the replicas of an ordinary day") \
	ROW(SITUATION_DEPLOY, "deploy", "during a deploy, with all replicas and the surge") \
	ROW(SITUATION_HALF_OPEN, "half open", "with all replicas, and the sessions of one of each service, whose node is lost, still open")

typedef enum Situation
{
	SITUATION_LIST(LIST_MEMBER)
} Situation;

#define SITUATIONS LIST_COUNT(SITUATION_LIST)

typedef struct SituationType
{
	const char *word;
	const char *phrase;
} SituationType;

extern const SituationType situation_types[SITUATIONS];

/* What a connection of the service goes by, if not by a pooler. */
#define VIA_REPLICATION "replication"

/* A row of the table; texts are "" where that has NULL, but for application_name. */
typedef struct DeclaredService
{
	char	   *name;
	char	   *role;
	char	   *database;
	char	   *application_name;	/* NULL: any of the role */
	char	   *via;
	char	   *source;
	double		replicas[SITUATIONS];
	double		per_replica;	/* connections at the worst */
	double		idle;			/* what it keeps open all the time */
	struct Names *names;		/* of role and application_name, as shared memory has them */

	bool		is_super;		/* no CONNECTION LIMIT holds for it */
} DeclaredService;

/* What the catalogs say of a role or a database. */
typedef struct CatalogEntry
{
	bool		exists;
	bool		connects;		/* it has LOGIN, or allows connections */
	bool		is_super;
	int			limit;			/* -1: none */
} CatalogEntry;

/* What is odd about how something is configured; a check. */
typedef struct Lint
{
	const char *phase;
	const char *name;
	Comparison	comparison;
	const char *unit;
	bool		fails;			/* if the comparison does not hold; otherwise that is a warning */
	const char *meaning;		/* of that */
} Lint;

/* What one service, or one pool of a pooler, takes of a limit. */
typedef struct Share
{
	const char *name;			/* "service shop" */
	const char *unit;			/* what it consists of: "replica", or "" */
	double		per_unit;		/* connections of one of these */
	double		demand[SITUATIONS];
} Share;

#define LIMIT_NAME_LEN	(4 * NAMEDATALEN)

/* One limit on the way; an entry of Budget.limits. */
typedef struct BudgetLimit
{
	char		name[LIMIT_NAME_LEN];	/* "role app"; the key */
	Cause		cause;			/* of what it refuses */
	double		capacity;		/* for what is declared; infinite: there is no limit */
	double		beside;			/* what was taken off that for others */
	const char *origin;			/* where the capacity is from, a sentence */
	const char *raise;			/* what sets it, up to the number; NULL: nothing simple */
	double		parts;			/* of so many processes: each has an equal part of it */
	bool		of_role;		/* of a role that an ALTER ROLE can limit */
	double		each_kib;		/* of memory that each further connection takes; 0: none of this machine */
	List	   *shares;			/* Share */
	double		demand[SITUATIONS];
} BudgetLimit;

/* Where a limit is hit: the next connection after this one is refused. */
typedef struct Crossing
{
	double		connections;	/* that fit */
	const Share *share;			/* whose connection the next one is */
	double		unit;			/* which unit of it; 0: it has none */
} Crossing;

/* The peak of a service that is not declared. */
typedef struct BesidePeak
{
	struct Names *names;
	int			sessions;
	int			now;
} BesidePeak;

/* What others hold. */
typedef struct Beside
{
	bool		known;			/* the library is preloaded, so that there are peaks, and not only what is open now */
	double		sessions;		/* the sum of the peaks */
	int			services;		/* that have one */
	double		unnamed;		/* logins of services that had no place in the table of names */
	int			npeaks;
	BesidePeak *peaks;
	int			ndatabases;
	Oid		   *databases;		/* of each session of this moment */
	double		walsenders;		/* of this moment */
} Beside;

/* What sessions have of the machine's memory for themselves; the averages of those that were measured. */
typedef struct BudgetMemory
{
	bool		known;
	int			nidle;
	int			nactive;
	double		idle_kib;
	double		active_kib;
	double		available_kib;	/* of the machine */
} BudgetMemory;

/* The first contradictions are shown, all are counted. */
#define CONTRADICTIONS_SHOWN	5

typedef struct Budget
{
	Extension	extension;
	MemoryContext context;		/* that everything is in */
	List	   *services;		/* DeclaredService */
	Beside		beside;
	BudgetMemory memory;
	HTAB	   *by_name;		/* BudgetLimit */
	List	   *limits;			/* the same in the order in which they were found */
	List	   *poolers;		/* Pooler */
	List	   *pools;			/* PoolerPool */
	List	   *lints;			/* Lint */
	StringInfoData contradictions;	/* the first of them, as sentences */
	int			ncontradictions;
} Budget;

/* declared.c */
extern void declared_read(Budget *budget);
extern bool service_is_pooled(const DeclaredService *service);
extern CatalogEntry facts_of_role(const char *name);
extern CatalogEntry facts_of_database(const char *name);
extern void contradiction(Budget *budget, const char *format,...) pg_attribute_printf(2, 3);

/* beside.c */
extern void beside_read(Budget *budget);
extern double beside_of_role(const Budget *budget, const char *role);
extern double beside_of_database(const Budget *budget, const char *database);

/* memory.c */
extern void memory_measure(Budget *budget);

/* limit.c */
extern void limits_add_up(Budget *budget);
extern void limits_add_role(Budget *budget, const char *role, const Share *share);
extern void limits_add_database(Budget *budget, const char *database, const Share *share);
extern void limits_add_server(Budget *budget, const Share *share);
extern void limit_set(BudgetLimit *limit, Cause cause, double all, double beside);
extern BudgetLimit *limit_get(Budget *budget, const char *name, bool *found);
extern void limit_add(BudgetLimit *limit, const Share *share);
extern Share *share_of_service(const DeclaredService *service);
extern bool limit_is_hit(const BudgetLimit *limit, Situation situation);
extern Crossing limit_crossing(const BudgetLimit *limit, Situation situation);
extern double limit_worst(const BudgetLimit *limit);

/* pooler.c */
extern void poolers_read(Budget *budget);
extern void poolers_add_up(Budget *budget);

/* lint.c */
extern void poolers_lint(Budget *budget);

/* propose.c */
extern List *proposals(const Budget *budget, const char **isolation);

/* document.c: the only one for other rooms */
struct ReportData;
extern struct ReportData *budget_document(void);
