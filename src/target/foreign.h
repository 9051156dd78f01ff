/*
 * foreign.h
 *		Foreign servers of the wrapper pool_exhaust, as targets: their options, the
 *		logins of a run and what it asks there, and the proof that nothing is left.
 */
#pragma once

#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"

#include "base/scale.h"
#include "load/target/endpoint.h"
#include "load/target/probe.h"
#include "story/story.h"

#define FOREIGN_HOSTS_MAX	64	/* in one option host */

typedef struct ForeignOption
{
	const char *name;
	Oid			catalog;		/* that it belongs to */
	bool		is_libpq;		/* goes to libpq as it stands */
	bool		required;
	bool		superuser;		/* names a file of the server's own account */

	/* What is possible: whole numbers from 1, or what that accepts, with an ERROR if not. */
	long		max;			/* 0: it is no number */
	void		(*check) (const char *name, const char *value); /* NULL: all */
} ForeignOption;

/* What every kind has to have. */
#define KIND_OPTION		{"kind", ForeignServerRelationId, .required = true}

/* Of kinds that libpq connects to. */
#define LIBPQ_SERVER_OPTIONS \
	KIND_OPTION, \
	{"host", ForeignServerRelationId, true, .required = true, .check = foreign_check_host}, \
	{"port", ForeignServerRelationId, true, .max = 65535}, \
	{"dbname", ForeignServerRelationId, true}, \
	{"options", ForeignServerRelationId, true}, \
	{"sslmode", ForeignServerRelationId, true, .check = foreign_check_sslmode}, \
	{"sslrootcert", ForeignServerRelationId, true}, \
	{"sslcrl", ForeignServerRelationId, true}, \
	{"sslcert", ForeignServerRelationId, true, .superuser = true}, \
	{"sslkey", ForeignServerRelationId, true, .superuser = true}, \
	{"channel_binding", ForeignServerRelationId, true}

#define LIBPQ_MAPPING_OPTIONS \
	{"user", UserMappingRelationId, true}, \
	{"password", UserMappingRelationId, true}, \
	{"password_required", UserMappingRelationId, .check = foreign_check_required}

/* See foreign_option.c. */
extern void foreign_check_host(const char *name, const char *value);
extern void foreign_check_sslmode(const char *name, const char *value);
extern void foreign_check_required(const char *name, const char *value);
extern void foreign_option_check(const ForeignOption *option, const char *value);
pg_noreturn extern void foreign_option_is_wrong(const char *name, const char *value, const char *hint);
extern const char *foreign_option_value(List *options, const char *name);
extern List *foreign_hosts(const char *value);

/* See foreign_server.c. */
extern bool foreign_find(const char *name, RunRequest *request);
extern void foreign_require(const RunRequest *request, const Scenario *scenario, const Options *options);
extern Endpoint *foreign_read(Run *run, int n);
extern Endpoint *foreign_read_other(Run *run, const char *name, TargetKind kind);
extern Endpoint *foreign_endpoint(const RunRequest *request);

/* See foreign_login.c. */
extern void foreign_login_read(Login *login, const Endpoint *endpoint, const ForeignOption *known,
							   List *server, List *mapping);
extern ConnectResult foreign_login_try(Run *run, Endpoint *endpoint, const char *name);
extern bool foreign_login_open(Run *run, int n);
extern bool foreign_is_here(List *hosts);
extern void foreign_login_make_console(Endpoint *endpoint);
extern bool foreign_login_ask(Run *run, RunParty *party, const Question *questions, const char *failure,
							  const char *where);
extern void foreign_login_require_alone(Run *run, RunParty *party);
extern char *foreign_login_unasked(const char *where, const char *name);

/* See foreign_scale.c. */
extern bool foreign_scale_need(const RunRequest *request, const Options *options, const Endpoint *endpoint, ScaleNeed *need);
extern void foreign_scale_require(Run *run, const RunParty *party, int sessions);
extern int	foreign_share(const Scenario *scenario, const Options *options, int sessions);
extern void foreign_share_require(const RunRequest *request, const Endpoint *endpoint, int handshakes, int sessions);
extern int	foreign_sessions(const RunRequest *request, const Options *options, int left);

/* See foreign_console.c: reads the answers, one for each question; may throw. */
typedef void (*ConsoleReader) (void *arg, PGresult *const *answers);

extern void foreign_console_ask(const char *name, const Question *questions, ConsoleReader read, void *arg);
extern void foreign_console_keep(Probe *probe, const PGresult *rows);

/* See foreign_proof.c. */
extern int	foreign_proof_left(Run *run);
extern void foreign_proof_close(Run *run);
