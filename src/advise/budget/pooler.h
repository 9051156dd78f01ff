/*
 * pooler.h
 *		PgBouncer as it is configured: the settings that limit connections.
 *
 * A setting has a row in table pool_exhaust_declared_poolers, under the section and
 * the name that it has in pgbouncer.ini.
 */
#pragma once

#include "advise/budget/budget.h"

#define POOLER_SECTION_LIST(ROW) \
	ROW(SECTION_PGBOUNCER, "pgbouncer") \
	ROW(SECTION_DATABASES, "databases") \
	ROW(SECTION_USERS, "users")

typedef enum PoolerSection
{
	POOLER_SECTION_LIST(LIST_MEMBER)
} PoolerSection;

#define IN_PGBOUNCER	(1 << SECTION_PGBOUNCER)
#define IN_DATABASES	(1 << SECTION_DATABASES)
#define IN_USERS		(1 << SECTION_USERS)

/*
 * Name in [pgbouncer], name in the other sections, the sections that have it, and
 * what PgBouncer takes if none does.  A limit of 0 is none.
 */
#define POOLER_SETTING_LIST(ROW) \
	ROW(SETTING_PROCESSES, "processes", NULL, IN_PGBOUNCER, 1) \
	ROW(SETTING_POOL_MODE, "pool_mode", "pool_mode", IN_PGBOUNCER | IN_DATABASES | IN_USERS, MODE_SESSION) \
	ROW(SETTING_CLIENTS, "max_client_conn", NULL, IN_PGBOUNCER, 100) \
	ROW(SETTING_POOL_SIZE, "default_pool_size", "pool_size", IN_PGBOUNCER | IN_DATABASES | IN_USERS, 20) \
	ROW(SETTING_MIN_POOL_SIZE, "min_pool_size", "min_pool_size", IN_PGBOUNCER | IN_DATABASES, 0) \
	ROW(SETTING_RESERVE, "reserve_pool_size", "reserve_pool_size", IN_PGBOUNCER | IN_DATABASES | IN_USERS, 0) \
	ROW(SETTING_RESERVE_TIMEOUT, "reserve_pool_timeout", NULL, IN_PGBOUNCER, 5) \
	ROW(SETTING_DATABASE_CONNECTIONS, "max_db_connections", "max_db_connections", IN_PGBOUNCER | IN_DATABASES, 0) \
	ROW(SETTING_DATABASE_CLIENTS, "max_db_client_connections", "max_db_client_connections", IN_PGBOUNCER | IN_DATABASES, 0) \
	ROW(SETTING_USER_CONNECTIONS, "max_user_connections", "max_user_connections", IN_PGBOUNCER | IN_USERS, 0) \
	ROW(SETTING_USER_CLIENTS, "max_user_client_connections", "max_user_client_connections", IN_PGBOUNCER | IN_USERS, 0) \
	ROW(SETTING_QUERY_WAIT, "query_wait_timeout", NULL, IN_PGBOUNCER, 120)

typedef enum PoolerSetting
{
	POOLER_SETTING_LIST(LIST_MEMBER)
} PoolerSetting;

#define POOLER_SETTINGS LIST_COUNT(POOLER_SETTING_LIST)

/* What a database of the pooler is on the server: texts beside those numbers. */
#define SETTING_DBNAME	"dbname"
#define SETTING_USER	"user"

#define POOL_MODE_LIST(ROW) \
	ROW(MODE_SESSION, "session") \
	ROW(MODE_TRANSACTION, "transaction") \
	ROW(MODE_STATEMENT, "statement")

typedef enum PoolMode
{
	POOL_MODE_LIST(LIST_MEMBER)
} PoolMode;

#define POOLER_NUMBER_MAX	1000000

extern const Words pooler_section_words;
extern const Words pool_mode_words;

extern int	pooler_setting_find(PoolerSection section, const char *name);
extern bool pooler_setting_is_text(PoolerSection section, const char *name);
extern const char *pooler_setting_name(PoolerSection section, PoolerSetting setting);
extern double pooler_setting_fallback(PoolerSetting setting);
extern const char *pooler_setting_read(PoolerSetting setting, const char *text, double *value);

/* A section of pgbouncer.ini, or one name in it. */
typedef struct PoolerScope
{
	PoolerSection section;
	char	   *name;
	bool		has[POOLER_SETTINGS];
	double		values[POOLER_SETTINGS];
	char	   *dbname;			/* on the server; "" if that is not said, likewise the user */
	char	   *user;
} PoolerScope;

typedef struct Pooler
{
	char	   *name;
	List	   *scopes;			/* PoolerScope */
} Pooler;

/* The connections to one database as one user. */
typedef struct PoolerPool
{
	const Pooler *pooler;
	const PoolerScope *database;
	const char *name;			/* of the database, as clients know it */
	const char *dbname;			/* on the server, like the role */
	const char *role;			/* "" if it is not known */
	const PoolerScope *user;	/* of that role, or NULL */
	List	   *services;		/* DeclaredService */
	double		clients[SITUATIONS];
} PoolerPool;

/* pooler.c */
extern double pooler_value(const Pooler *pooler, PoolerSetting setting, const PoolerScope *database, const PoolerScope *user);
extern double pool_value(const PoolerPool *pool, PoolerSetting setting);
