/*
 * compat.h
 *		What differs between PostgreSQL 15, 16, 17, 18 and 19, in one place.
 *
 * The newest spelling wins: the rest of the code is written as if for the
 * newest release, and this file teaches it to the older ones.  PG_VERSION_NUM
 * appears nowhere else.
 */
#pragma once

#if PG_VERSION_NUM < 150000
#error "pool_exhaust needs PostgreSQL 15 or newer: name the pg_config of such a server with PG_CONFIG="
#endif

/*
 * libpq-be.h wants gssapi.h when the server was built with GSSAPI, which
 * needs one more -dev package for a field that is not used here.  Port keeps
 * its layout either way ("to keep struct offsets the same for extension ABI
 * compatibility", libpq-be.h).
 */
#undef ENABLE_GSS
#include "libpq/libpq-be.h"
#include "libpq/libpq.h"

#include "catalog/pg_database.h"
#include "common/scram-common.h"
#include "miscadmin.h"
#include "postmaster/postmaster.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

/* 19 has get_database_name() in another place. */
#if PG_VERSION_NUM >= 190000
#include "utils/lsyscache.h"
#else
#include "commands/dbcommands.h"
#endif

/*
 * 19 hands signal handlers what is known of the sender, and so has a type of its
 * own for them.
 */
#if PG_VERSION_NUM >= 190000
#define compat_signal_args postgres_signal_arg, pg_siginfo
#else
#define compat_signal_args postgres_signal_arg
#define PG_SIG_IGN SIG_IGN
#endif

/* 19 has a level of the server log for each type of process. */
static inline int
compat_log_level(BackendType type)
{
#if PG_VERSION_NUM >= 190000
	return log_min_messages[type];
#else
	return log_min_messages;
#endif
}

/* 19 lets no hook change it. */
#if PG_VERSION_NUM >= 190000
#define compat_jumble_state const JumbleState
#else
#define compat_jumble_state JumbleState
#endif

/* The two reserves: for superusers, and (16) for pg_use_reserved_connections. */
#if PG_VERSION_NUM >= 160000
#define compat_uses_reserved_connections(role) \
	has_privs_of_role(role, ROLE_PG_USE_RESERVED_CONNECTIONS)
#else
#define SuperuserReservedConnections ReservedBackends
#define ReservedConnections 0
#define compat_uses_reserved_connections(role) false
#endif

/*
 * 16 gave scram_build_secret() the hash type and the length of the key, 18 a
 * salt of uint8.
 */
static inline char *
compat_scram_secret(const uint8 *salt, int saltlen, int iterations,
					const char *password, const char **errstr)
{
#if PG_VERSION_NUM >= 180000
	return scram_build_secret(PG_SHA256, SCRAM_SHA_256_KEY_LEN, salt, saltlen,
							  iterations, password, errstr);
#elif PG_VERSION_NUM >= 160000
	return scram_build_secret(PG_SHA256, SCRAM_SHA_256_KEY_LEN, (const char *) salt, saltlen,
							  iterations, password, errstr);
#else
	return scram_build_secret((const char *) salt, saltlen, iterations, password, errstr);
#endif
}

/* 16 has one function for the privileges on objects of all kinds. */
#if PG_VERSION_NUM >= 160000
#define compat_database_aclcheck(database, role, mode) \
	object_aclcheck(DatabaseRelationId, database, role, mode)
#define compat_foreign_server_aclcheck(server, role, mode) \
	object_aclcheck(ForeignServerRelationId, server, role, mode)
#else
#define compat_database_aclcheck(database, role, mode) \
	pg_database_aclcheck(database, role, mode)
#define compat_foreign_server_aclcheck(server, role, mode) \
	pg_foreign_server_aclcheck(server, role, mode)
#endif

/*
 * The status entry of a process, NULL if it has none; it may not be its own
 * yet, or any more.  The array is static in backend_status.c, but every process
 * with a PGPROC knows its own entry, and so where the array begins.  17 counts
 * entries by PGPROC, older releases by BackendId.
 */
static inline PgBackendStatus *
compat_backend_status(PGPROC *proc)
{
#if PG_VERSION_NUM >= 170000
	return MyBEEntry - MyProcNumber + GetNumberFromPGProc(proc);
#else
	BackendId	id = ((volatile PGPROC *) proc)->backendId;

	return id > 0 ? MyBEEntry - MyBackendId + id : NULL;
#endif
}

/*
 * Where the transaction of a process exports a snapshot first, as ExportSnapshot()
 * in snapmgr.c names the file.  17 has the two numbers in a struct.
 */
static inline void
compat_snapshot_path(const PGPROC *proc, char *path, size_t size)
{
#if PG_VERSION_NUM >= 170000
	snprintf(path, size, "pg_snapshots/%08X-%08X-1", proc->vxid.procNumber, proc->vxid.lxid);
#else
	snprintf(path, size, "pg_snapshots/%08X-%08X-1", proc->backendId, proc->lxid);
#endif
}

/* 17 ties a wait event set to a resource owner instead of a memory context. */
static inline WaitEventSet *
compat_wait_event_set(int nevents)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(NULL, nevents);
#else
	return CreateWaitEventSet(TopMemoryContext, nevents);
#endif
}

/*
 * What a check hook of a setting leaves in *extra is freed by guc.c: from 16 on
 * with guc_free(), before with free().  NULL if there is no memory.
 */
static inline void *
compat_guc_malloc(size_t size)
{
#if PG_VERSION_NUM >= 160000
	return guc_malloc(LOG, size);
#else
	return malloc(size);
#endif
}

static inline void
compat_guc_free(void *memory)
{
#if PG_VERSION_NUM >= 160000
	guc_free(memory);
#else
	free(memory);
#endif
}

/* Has the process no lock of this partition?  16 has another kind of list. */
static inline bool
compat_no_locks(PGPROC *proc, int partition)
{
#if PG_VERSION_NUM >= 160000
	return dlist_is_empty(&proc->myProcLocks[partition]);
#else
	return SHMQueueEmpty(&proc->myProcLocks[partition]);
#endif
}

/*
 * The lists of a lock: of those that hold it or wait for it, and the queue of the
 * latter.  16 has another kind of list, 19 a link of its own for the queue.
 */
#if PG_VERSION_NUM >= 160000
typedef dlist_node CompatLink;
#define compat_holders(lock)	(&(lock)->procLocks.head)
#define compat_queue(lock)		(&(lock)->waitProcs.dlist.head)
#else
typedef SHM_QUEUE CompatLink;
#define compat_holders(lock)	(&(lock)->procLocks)
#define compat_queue(lock)		(&(lock)->waitProcs.links)
#endif
#if PG_VERSION_NUM < 190000
#define waitLink links
#endif
#define compat_container(type, field, link) \
	((type *) ((char *) (link) - offsetof(type, field)))
#define compat_foreach_link(link, head) \
	for (CompatLink *link = (head)->next; link != (head); link = link->next)
#define compat_foreach_holder(link, lock) \
	compat_foreach_link(link, compat_holders(lock))
#define compat_foreach_waiter(link, lock) \
	compat_foreach_link(link, compat_queue(lock))
#define compat_holder(link)		compat_container(PROCLOCK, lockLink, link)
#define compat_waiter(link)		compat_container(PGPROC, waitLink, link)

/* 17 has a timeout for transactions. */
#if PG_VERSION_NUM < 170000
#define TransactionTimeout 0
#endif

/* 17 can name an extension's wait events. */
static inline uint32
compat_wait_event(const char *name)
{
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew(name);
#else
	return PG_WAIT_EXTENSION;
#endif
}

/* 18 carries the name and the version of a module in its magic block. */
#if PG_VERSION_NUM >= 180000
#define POOL_EXHAUST_MAGIC \
	PG_MODULE_MAGIC_EXT(.name = "pool_exhaust", .version = EXTVERSION)
#else
#define POOL_EXHAUST_MAGIC PG_MODULE_MAGIC
#endif

#if PG_VERSION_NUM < 180000
#define pg_noreturn _Noreturn
#endif

/* 16 declares it for every module. */
#if PG_VERSION_NUM < 160000
extern PGDLLEXPORT void _PG_init(void);
#endif

/* 16 does not show its array of settings, but makes a copy. */
#if PG_VERSION_NUM >= 160000
#define compat_guc_variables(n) get_guc_variables(n)
#else
#define compat_guc_variables(n) (*(n) = GetNumConfigOptions(), get_guc_variables())
#endif
