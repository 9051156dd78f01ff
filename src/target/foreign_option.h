/*
 * foreign_option.h
 *		The options that foreign servers and their user mappings have.
 */
#pragma once

#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "nodes/pg_list.h"

#include "base/compat.h"
#include "load/session.h"

typedef struct ForeignOption
{
	const char *name;
	Oid			catalog;		/* that it belongs to */
	bool		is_libpq;		/* goes to libpq as it stands */
	bool		required;
	bool		superuser;		/* names a file of the server's own account */

	/* ERROR unless the value is possible; NULL: all are. */
	void		(*check) (const char *name, const char *value);
} ForeignOption;

/* What every kind has to have. */
#define KIND_OPTION		{"kind", ForeignServerRelationId, .required = true}

/* Of kinds that libpq connects to. */
#define LIBPQ_SERVER_OPTIONS \
	KIND_OPTION, \
	{"host", ForeignServerRelationId, true, .required = true, .check = foreign_check_host}, \
	{"port", ForeignServerRelationId, true, .check = foreign_check_port}, \
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

extern void foreign_check_host(const char *name, const char *value);
extern void foreign_check_port(const char *name, const char *value);
extern void foreign_check_number(const char *name, const char *value, long max);
extern void foreign_check_sslmode(const char *name, const char *value);
extern void foreign_check_required(const char *name, const char *value);
pg_noreturn extern void foreign_option_is_wrong(const char *name, const char *value, const char *hint);

extern const char *foreign_option_value(List *options, const char *name);
extern const ForeignOption *foreign_option_find(const ForeignOption *options, Oid catalog, const char *name);
