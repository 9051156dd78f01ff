/*
 * statement.c
 *		One SQL statement of ours, with SPI: what its names stand for is checked
 *		before it runs.
 *
 * Statements of ours run with the rights of a superuser, as a rule, in databases
 * of others.  The owner of a database owns schema public, and with it what a
 * name stands for: the schema can be renamed, and another table, or a view, put
 * into its place, with a trigger or a function in it.  A name is looked up again
 * after each wait for a lock, so it is no use to check it beforehand.  Therefore
 * the check comes after parse analysis, when each relation of the statement is
 * known by OID and locked, and nothing has run yet.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/transam.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "sql/statement.h"

static const Extension *the_extension;	/* of the statement that is analyzed */
static post_parse_analyze_hook_type next_hook;	/* of other modules */

/* Returns what keeps the relation from being used: what would run, or whose it is; NULL: nothing does. */
static const char *
relation_objection(Relation rel)
{
	bool		is_table = rel->rd_rel->relkind == RELKIND_RELATION;

	if (!is_table && rel->rd_rel->relkind != RELKIND_VIEW)
		return "is neither a table nor a view";
	if (rel->rd_rel->relowner != the_extension->owner)
		return "has another owner than the extension";
	if (is_table && rel->rd_rules != NULL)
		return "has a rule";
	if (rel->rd_rel->relrowsecurity)
		return "has row security";
	if (rel->rd_rel->relhassubclass || rel->rd_rel->relispartition)
		return "has tables that inherit from it";
	if (rel->trigdesc != NULL)
		for (int i = 0; i < rel->trigdesc->numtriggers; i++)
			if (!rel->trigdesc->triggers[i].tgisinternal)
				return "has a trigger";
	return NULL;
}

/* ERROR unless the relation is PostgreSQL's own, or the extension's as that made it.  It is locked. */
static void
require_ours(Oid relid)
{
	Relation	rel = relation_open(relid, NoLock);
	bool		system = relid < FirstNormalObjectId && RelationGetNamespace(rel) == PG_CATALOG_NAMESPACE;
	const char *objection = NULL;

	if (!system)
		objection = the_extension == NULL || getExtensionOfObject(RelationRelationId, relid) != the_extension->oid
			? "is no member of extension pool_exhaust" : relation_objection(rel);
	if (objection != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("relation \"%s\" %s, so it is not used", RelationGetRelationName(rel), objection),
				 errdetail("What runs there would run with the rights of the extension's owner."),
				 errhint("Take it away, or move the extension to a schema that no other role owns: DROP EXTENSION pool_exhaust; CREATE EXTENSION pool_exhaust SCHEMA ...")));
	relation_close(rel, NoLock);
}

static bool
relations_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, relations_walker, context, QTW_EXAMINE_RTES_BEFORE);
	if (!IsA(node, RangeTblEntry))
		return expression_tree_walker(node, relations_walker, context);
	if (((RangeTblEntry *) node)->rtekind == RTE_RELATION)
		require_ours(((RangeTblEntry *) node)->relid);
	return false;
}

/* post_parse_analyze_hook: all relations of the statement are locked, and it has not run. */
static void
statement_check(ParseState *pstate, Query *query, compat_jumble_state *jstate)
{
	(void) relations_walker((Node *) query, NULL);
	if (next_hook != NULL)
		next_hook(pstate, query, jstate);
}

/* Returns the statement with the quoted schema of the extension for each "@"; palloc'd. */
static char *
statement_qualify(const Extension *extension, const char *sql)
{
	StringInfoData text;

	initStringInfo(&text);
	for (const char *p = sql; *p != '\0'; p++)
		if (*p == '@' && extension != NULL)
			appendStringInfoString(&text, extension->schema);
		else
			appendStringInfoChar(&text, *p);
	return text.data;
}

/*
 * Runs one statement, which SPI is connected for: "@" in it is the schema of the
 * extension, which is NULL for statements on PostgreSQL's own catalogs.  The rows
 * are in SPI_tuptable, as many as SPI_processed says.  ERROR unless it did what
 * "expected" says, and before it runs if one of its relations is not PostgreSQL's
 * or the extension's own.
 */
void
statement_run(const Extension *extension, const char *sql, int expected, int nargs, Oid *types, Datum *values)
{
	int			rc = 0;

	the_extension = extension;
	next_hook = post_parse_analyze_hook;
	post_parse_analyze_hook = statement_check;
	PG_TRY();
	{
		rc = SPI_execute_with_args(statement_qualify(extension, sql), nargs, types, values, NULL,
								   expected == SPI_OK_SELECT, 0);
	}
	PG_FINALLY();
	{
		post_parse_analyze_hook = next_hook;
	}
	PG_END_TRY();
	if (rc != expected)
		elog(ERROR, "SPI returned %s instead of %s", SPI_result_code_string(rc),
			 SPI_result_code_string(expected));
}

/* A field of the last result as text; "" for NULL.  Columns count from 1. */
char *
statement_text(int row, int column)
{
	char	   *text = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return text != NULL ? text : "";
}
