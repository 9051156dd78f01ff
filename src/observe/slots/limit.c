/*
 * limit.c
 *		What limits connections: the slots, max_wal_senders, CONNECTION LIMITs of
 *		roles and of databases; and what they leave to a role.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "replication/walsender.h"
#include "storage/procarray.h"
#include "utils/acl.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "observe/slots/census.h"
#include "observe/slots/limit.h"

static List *
limits_add(List *limits, PoolKind kind, Oid oid, const char *name, int capacity)
{
	PoolLimit  *limit = palloc(sizeof(PoolLimit));

	*limit = (PoolLimit) {.kind = kind, .oid = oid, .capacity = capacity};
	strlcpy(limit->name, name, NAMEDATALEN);
	return lappend(limits, limit);
}

/* Superusers are exempt, and a role that cannot log in has no connections. */
static List *
limits_add_role(List *limits, HeapTuple tuple)
{
	Form_pg_authid role = (Form_pg_authid) GETSTRUCT(tuple);

	if (role->rolconnlimit < 0 || role->rolsuper || !role->rolcanlogin)
		return limits;
	return limits_add(limits, POOL_ROLE, role->oid, NameStr(role->rolname), role->rolconnlimit);
}

static List *
limits_add_database(List *limits, HeapTuple tuple)
{
	Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

	if (database->datconnlimit < 0)
		return limits;
	return limits_add(limits, POOL_DATABASE, database->oid, NameStr(database->datname),
					  database->datconnlimit);
}

static List *
limits_scan(List *limits, Oid catalog, List *(*add) (List *limits, HeapTuple tuple))
{
	Relation	rel = table_open(catalog, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		limits = add(limits, tuple);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return limits;
}

/* Returns the pool of all slots, as a list. */
List *
limits_of_server(void)
{
	return limits_add(NIL, POOL_SERVER, InvalidOid, "server", census_capacity());
}

/*
 * Returns the pools that this server is, as a list of PoolLimit in the current
 * memory context, the server first.  Needs a transaction, but no database.
 */
List *
limits_read(void)
{
	List	   *limits = limits_of_server();

	if (max_wal_senders > 0)
		limits = limits_add(limits, POOL_WALSENDERS, InvalidOid, "walsenders", max_wal_senders);
	limits = limits_scan(limits, AuthIdRelationId, limits_add_role);
	return limits_scan(limits, DatabaseRelationId, limits_add_database);
}

/* How many connections count against it, by the server's own way of counting. */
int
limit_in_use(const PoolLimit *limit)
{
	int			ours;

	switch (limit->kind)
	{
		case POOL_WALSENDERS:
			return census_walsenders();
		case POOL_ROLE:
			return CountUserBackends(limit->oid);
		case POOL_DATABASE:
			return CountDBConnections(limit->oid);
		default:
			return census_slots(InvalidOid, &ours);
	}
}

/* What the slots leave to a role: the reserved ones are for privileged roles alone, of which InvalidOid is none. */
static int
headroom_slots(Oid role)
{
	Census		census;

	census_take(&census);
	if (superuser_arg(role))
		return census.free;
	if (compat_uses_reserved_connections(role))
		return census.free - SuperuserReservedConnections;
	return census.free - SuperuserReservedConnections - ReservedConnections;
}

/* What its CONNECTION LIMIT leaves to the role. */
static int
headroom_role(Oid role)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	Form_pg_authid form;
	int			room = INT_MAX;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role with OID %u does not exist", role)));
	form = (Form_pg_authid) GETSTRUCT(tuple);
	if (!form->rolcanlogin)
		room = 0;
	else if (form->rolconnlimit >= 0 && !form->rolsuper)
		room = form->rolconnlimit - CountUserBackends(role);
	ReleaseSysCache(tuple);
	return room;
}

/* What the database leaves to the role: its limit, and whether it lets it in. */
static int
headroom_database(Oid role, Oid database)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	Form_pg_database form;
	int			room = INT_MAX;

	if (!HeapTupleIsValid(tuple))
		return 0;				/* dropped a moment ago */
	form = (Form_pg_database) GETSTRUCT(tuple);
	if (!form->datallowconn || form->datconnlimit < -1 ||
		compat_database_aclcheck(database, role, ACL_CONNECT) != ACLCHECK_OK)
		room = 0;
	else if (form->datconnlimit >= 0 && !superuser_arg(role))
		room = form->datconnlimit - CountDBConnections(database);
	ReleaseSysCache(tuple);
	return room;
}

/*
 * Returns how many more connections the role could open to the database beside "taken"
 * more by other roles, after every limit and reserve; 0 if it may not connect at all.
 * Needs a transaction.
 */
int
limit_headroom_beside(Oid role, Oid database, int taken)
{
	int			by_slots = headroom_slots(role) - taken;
	int			by_role = headroom_role(role);
	int			by_database = headroom_database(role, database);

	return Max(Min(Min(by_slots, by_role), by_database), 0);
}

/* Returns how many it can open now. */
int
limit_headroom(Oid role, Oid database)
{
	return limit_headroom_beside(role, database, 0);
}

/*
 * The same for a role that is yet to be made, without a limit and privileges;
 * what would refuse one more goes to "cause".
 */
int
limit_headroom_new(Oid database, Cause *cause)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	int			room = headroom_slots(InvalidOid);
	int			limit = -1;

	if (HeapTupleIsValid(tuple))
	{
		limit = ((Form_pg_database) GETSTRUCT(tuple))->datconnlimit;
		ReleaseSysCache(tuple);
	}
	*cause = SuperuserReservedConnections + ReservedConnections > 0
		? CAUSE_RESERVED_SLOTS : CAUSE_TOO_MANY_CLIENTS;
	if (limit >= 0 && limit - CountDBConnections(database) < room)
	{
		room = limit - CountDBConnections(database);
		*cause = CAUSE_DATABASE_LIMIT;
	}
	return Max(room, 0);
}
