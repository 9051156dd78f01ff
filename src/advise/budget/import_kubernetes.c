/*
 * import_kubernetes.c
 *		Services from "kubectl get deploy,sts,hpa -o json".
 *
 * What Kubernetes does not know, the pool, is in annotations of the workload or of its
 * pods, or in variables of its containers: each column has a list of names, of which
 * the first that is there holds.  A workload without a pool_size is no client.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "advise/budget/import.h"
#include "base/text.h"
#include "sql/statement.h"

/* Column, annotation behind "pool-exhaust/", and the variables, as elements of an SQL array. */
#define SOURCES_LIST(ROW) \
	ROW(COLUMN_ROLE, "role", "'PGUSER', 'POSTGRES_USER', 'DB_USER'") \
	ROW(COLUMN_DATABASE, "database", "'PGDATABASE', 'POSTGRES_DB', 'DB_NAME'") \
	ROW(COLUMN_APPLICATION_NAME, "application-name", "'PGAPPNAME'") \
	ROW(COLUMN_VIA, "via", "") \
	ROW(COLUMN_PROCESSES, "processes", "'WEB_CONCURRENCY'") \
	ROW(COLUMN_POOL_SIZE, "pool-size", "'DB_POOL_SIZE', 'POOL_SIZE'") \
	ROW(COLUMN_MAX_OVERFLOW, "max-overflow", "'DB_MAX_OVERFLOW', 'MAX_OVERFLOW'") \
	ROW(COLUMN_MIN_IDLE, "min-idle", "'DB_MIN_IDLE'")

#define SOURCE_COLUMN(column, ...)	column,
#define SOURCE_SQL(column, annotation, variables) \
	", coalesce(annotations->>'pool-exhaust/" annotation "', (SELECT variables->>v FROM pg_catalog.unnest(ARRAY[" variables "]::text[]) " \
	"WITH ORDINALITY AS u(v, n) WHERE variables ? v ORDER BY n LIMIT 1))"

static const DeclaredColumn source_columns[] = {SOURCES_LIST(SOURCE_COLUMN)};

/* Columns of the query before those of the list. */
enum
{
	QUERY_WHERE = 1,
	QUERY_SERVICE,
	QUERY_REPLICAS,
	QUERY_REPLICAS_MAX,
	QUERY_SURGE,
	QUERY_SOURCES
};

#define OBJECT(path) "CASE WHEN pg_catalog.jsonb_typeof(i #> '" path "') = 'object' THEN i #> '" path "' ELSE '{}' END"

static const char workloads_query[] =
"WITH items AS MATERIALIZED (SELECT i, i->>'kind' AS kind, i #>> '{metadata,name}' AS name, "
"coalesce(i #>> '{metadata,namespace}', 'default') AS namespace FROM pg_catalog.jsonb_path_query($1, 'lax $.items[*]') AS i), "
"workloads AS MATERIALIZED (SELECT kind, name, namespace, i, "
"(" OBJECT("{spec,template,metadata,annotations}") ") || (" OBJECT("{metadata,annotations}") ") AS annotations, "
"coalesce((SELECT pg_catalog.jsonb_object_agg(e->>'name', e->'value') "
"FROM pg_catalog.jsonb_path_query(i, 'lax $.spec.template.spec.containers[*].env[*]') AS e "
"WHERE e->>'name' IS NOT NULL AND e->>'value' IS NOT NULL), '{}') AS variables "
"FROM items WHERE kind IN ('Deployment', 'StatefulSet') AND name IS NOT NULL) "
"SELECT kind || ' ' || namespace || '/' || name, "
"coalesce(annotations->>'pool-exhaust/service', CASE namespace WHEN 'default' THEN name ELSE namespace || '/' || name END), "
"coalesce(i #>> '{spec,replicas}', '1'), "
"(SELECT h.i #>> '{spec,maxReplicas}' FROM items AS h WHERE h.kind = 'HorizontalPodAutoscaler' AND h.namespace = w.namespace "
"AND h.i #>> '{spec,scaleTargetRef,kind}' = w.kind AND h.i #>> '{spec,scaleTargetRef,name}' = w.name LIMIT 1), "
"CASE WHEN kind = 'StatefulSet' OR i #>> '{spec,strategy,type}' = 'Recreate' THEN '0' "
"ELSE coalesce(i #>> '{spec,strategy,rollingUpdate,maxSurge}', '25%') END"
SOURCES_LIST(SOURCE_SQL)
" FROM workloads AS w ORDER BY namespace COLLATE \"C\", name COLLATE \"C\"";

/*
 * Returns the document as jsonb.  The errors of the parser have a line of it in their
 * context, and such a line may have a password in it: only its number is kept.
 */
static Datum
document_json(const char *document)
{
	MemoryContext context = CurrentMemoryContext;
	volatile Datum json = (Datum) 0;
	volatile int line = 0;

	PG_TRY();
	{
		json = DirectFunctionCall1(jsonb_in, CStringGetDatum(document));
	}
	PG_CATCH();
	{
		ErrorData  *error;
		const char *found;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
		found = error->context != NULL ? strstr(error->context, "line ") : NULL;
		line = found != NULL ? atoi(found + strlen("line ")) : 0;
	}
	PG_END_TRY();
	if (json == (Datum) 0)
		import_error(line > 0 ? psprintf("line %d", line) : "a line", "it is no JSON", "It must be what \"kubectl get deploy,sts,hpa -o json\" prints.");
	return json;
}

/* Returns the surge in replicas: a part of all of them is rounded up, as Kubernetes does. */
static char *
surge_text(const char *surge, const char *replicas)
{
	char	   *end;
	double		percent = strtod(surge, &end);

	if (end == surge || strcmp(end, "%") != 0 || !(percent >= 0 && percent <= 10000))
		return pstrdup(surge);
	return psprintf("%.0f", ceil(strtod(replicas, NULL) * percent / 100));
}

/* The row of a workload; false if it has no pool. */
static bool
read_workload(Import *import, int row)
{
	const char *where = text_printable(text_cut(statement_text(row, QUERY_WHERE), 200));
	const char *replicas = statement_text(row, QUERY_REPLICAS);
	const char *replicas_max = statement_text(row, QUERY_REPLICAS_MAX);
	ImportedService service = {{NULL}};

	for (int i = 0; i < lengthof(source_columns); i++)
		if (statement_text(row, QUERY_SOURCES + i)[0] != '\0')
			import_value(&service, source_columns[i], statement_text(row, QUERY_SOURCES + i), where);
	if (service.values[COLUMN_POOL_SIZE] == NULL)
		return false;
	import_value(&service, COLUMN_SERVICE, statement_text(row, QUERY_SERVICE), where);
	import_value(&service, COLUMN_REPLICAS, replicas, where);
	if (replicas_max[0] != '\0')
		import_value(&service, COLUMN_REPLICAS_MAX, replicas_max, where);
	import_value(&service, COLUMN_SURGE, surge_text(statement_text(row, QUERY_SURGE), replicas_max[0] != '\0' ? replicas_max : replicas), where);
	import_service(import, &service, where);
	return true;
}

static void
kubernetes_parse(Import *import)
{
	Oid			types[] = {JSONBOID};
	Datum		values[] = {document_json(import->document)};
	int			left_out = 0;
	int			n;

	statement_run(import->extension, workloads_query, SPI_OK_SELECT, lengthof(types), types, values);
	n = (int) SPI_processed;
	for (int row = 0; row < n; row++)
	{
		CHECK_FOR_INTERRUPTS();
		left_out += !read_workload(import, row);
	}
	if (import->nrows == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("none of the %d workloads of the document has a pool_size", n),
				 errhint("Give those that connect an annotation: kubectl annotate deploy NAME pool-exhaust/pool-size=10")));
	if (left_out > 0)
		ereport(NOTICE,
				(errmsg("%d of %d workloads have no pool_size, and are left out", left_out, n),
				 errhint("Give those that connect an annotation: kubectl annotate deploy NAME pool-exhaust/pool-size=10")));
}

const ImportKind import_kind_kubernetes = {
	.name = "kubernetes",
	.parse = kubernetes_parse,
};
