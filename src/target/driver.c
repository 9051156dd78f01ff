/*
 * driver.c
 *		Foreign servers of kind "driver": other servers with this extension, which
 *		generate load for a run.  No run aims at them.
 */
#include "postgres.h"

#include "target/drivers.h"
#include "target/foreign.h"
#include "target/server_pool.h"
#include "target/target.h"

static const ForeignOption driver_options[] = {
	LIBPQ_SERVER_OPTIONS,
	{"target", ForeignServerRelationId},
	LIBPQ_MAPPING_OPTIONS,
	{NULL}
};

/* What the driver calls the target, where that is another name than here. */
static void
driver_read(Endpoint *endpoint, List *server, List *mapping)
{
	endpoint->target = foreign_option_value(server, "target");
}

const TargetType target_driver = {
	.name = "driver",
	.foreign = true,
	.drives = true,
	.options = driver_options,
	.default_port = "5432",
	.read = driver_read,
};

/* ERROR unless the caller may have that foreign server drive; returns where it is. */
static Endpoint *
driver_find(const char *name)
{
	RunRequest	request = {0};

	if (!foreign_find(name, &request) || request.target != TARGET_DRIVER)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"drivers\" names \"%s\", which is no foreign server of kind driver", name),
				 errhint("CREATE SERVER ... FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'driver', host '...', dbname '...').")));
	return foreign_endpoint(&request);
}

/* ERROR if that is more than so many drivers may have together. */
static void
require_share(const char *option, int64 value, int64 n)
{
	if (value > n * FOREIGN_CLIENTS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" is " INT64_FORMAT ", more than " INT64_FORMAT " drivers may have: %d each", option, value, n, FOREIGN_CLIENTS_MAX),
				 errhint("Name more drivers, or lower it.")));
}

/* ERROR if the drivers that the options name cannot be used for that request. */
void
drivers_require(const RunRequest *request, const Options *options)
{
	const TargetType *target = target_types[request->target];
	const Endpoint *endpoint;

	if (options->drivers.n == 0)
		return;
	if (!target->driven)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("drivers cannot generate load for target \"%s\"", request->target_name),
				 errhint("They log in to a foreign server of kind postgres or pgbouncer: aim at one, or leave option \"drivers\" out.")));
	if (options->chaos > 0)
		options_contradict("Leave out option \"chaos\" or option \"drivers\".",
						   "chaos disturbs the sessions of the runner, and drivers have their own");
	require_share("clients", options->clients, options->drivers.n);
	require_share("long_operations", options->long_operations, options->drivers.n);
	require_share("quick_operations", options->quick_operations, options->drivers.n);
	endpoint = foreign_endpoint(request);
	for (int i = 0; i < options->drivers.n; i++)
	{
		const char *name = options->drivers.name[i];
		const Endpoint *driver = driver_find(name);

		if (strcmp(driver->host, endpoint->host) == 0 && strcmp(driver->port, endpoint->port) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("driver \"%s\" is the target itself: host %s, port %s", name, driver->host, driver->port),
					 errhint("A driver is another server, whose load does not compete with what it measures.")));
	}
}
