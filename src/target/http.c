/*
 * http.c
 *		Foreign servers of kind "http": a service over HTTP with a pool behind it.
 */
#include "postgres.h"

#include "target/foreign.h"
#include "target/target.h"

/* A password in it would be for all to read. */
static void
check_url(const char *name, const char *value)
{
	if (http_url_error(value) != NULL)
		foreign_option_is_wrong(name, strchr(value, '@') != NULL ? "..." : value,
						"Give http:// or https://, a host, and maybe a port and a prefix; user and password belong into the user mapping.");
}

static void
check_path(const char *name, const char *value)
{
	if (value[0] != '/' || strpbrk(value, "# \t\r\n") != NULL)
		foreign_option_is_wrong(name, value, "A path begins with a slash, and has no blanks.");
}

static const ForeignOption http_options[] = {
	KIND_OPTION,
	{"sslrootcert", ForeignServerRelationId},
	{"url", ForeignServerRelationId, .required = true, .check = check_url},
	{"path", ForeignServerRelationId, .check = check_path},
	{"liveness_path", ForeignServerRelationId, .check = check_path},
	{"other_path", ForeignServerRelationId, .check = check_path},
	{"user", UserMappingRelationId},
	{"password", UserMappingRelationId},
	{NULL}
};

/* What is not given is the root, which need not be the page to ask for, or not there. */
static void
http_read(Endpoint *endpoint, List *server, List *mapping)
{
	const char *path = foreign_option_value(server, "path");

	endpoint->http = (HttpTarget) {
		.url = foreign_option_value(server, "url"),
		.path = path != NULL ? path : "/",
		.liveness_path = foreign_option_value(server, "liveness_path"),
		.other_path = foreign_option_value(server, "other_path"),
		.user = foreign_option_value(mapping, "user"),
		.password = foreign_option_value(mapping, "password"),
		.sslrootcert = foreign_option_value(server, "sslrootcert"),
		.anywhere = endpoint->superuser,
	};
}

/* Finds the HTTP service that the run aims at; it is not asked anything yet. */
static void
http_open_service(Run *run)
{
	run->endpoint = foreign_read(run, 0);
	run->login_endpoint = run->request.target_name;
}

const TargetType target_http = {
	.name = "http",
	.foreign = true,
	.exclusive = true,
	.may_vanish = true,
	.options = http_options,
	.mapping_optional = true,
	.read = http_read,
	.open_service = http_open_service,
};
