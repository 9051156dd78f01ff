/*
 * workload.c
 *		What SQL may be the workload of a run.
 *
 * Operations take turns on the connections of a pool, so none may leave
 * anything behind on its session: the next one would find it there, or not,
 * depending on which connection it got.  This refuses the statements that do
 * so by themselves.  What a function does (set_config(), advisory locks, a DO
 * block) cannot be seen in its call; a trial in the run finds that.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "nodes/parsenodes.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"

#include "request/workload.h"

/* SET LOCAL and SET TRANSACTION end with their transaction. */
static bool
set_lasts(const Node *node)
{
	const VariableSetStmt *set = (const VariableSetStmt *) node;

	if (set->kind == VAR_SET_MULTI)
		return strcmp(set->name, "SESSION CHARACTERISTICS") == 0;
	return !set->is_local;
}

static bool
cursor_lasts(const Node *node)
{
	return (((const DeclareCursorStmt *) node)->options & CURSOR_OPT_HOLD) != 0;
}

static bool
is_temporary(const RangeVar *name)
{
	return name->relpersistence == RELPERSISTENCE_TEMP ||
		(name->schemaname != NULL && strcmp(name->schemaname, "pg_temp") == 0);
}

static bool
table_lasts(const Node *node)
{
	const CreateStmt *create = (const CreateStmt *) node;

	return is_temporary(create->relation) && create->oncommit != ONCOMMIT_DROP;
}

static bool
table_as_lasts(const Node *node)
{
	const IntoClause *into = ((const CreateTableAsStmt *) node)->into;

	return is_temporary(into->rel) && into->onCommit != ONCOMMIT_DROP;
}

/* The INTO of a UNION stands in its first SELECT. */
static bool
select_into_lasts(const Node *node)
{
	const SelectStmt *first = (const SelectStmt *) node;

	while (first->op != SETOP_NONE)
		first = first->larg;
	return first->intoClause != NULL && is_temporary(first->intoClause->rel);
}

static bool
view_lasts(const Node *node)
{
	return is_temporary(((const ViewStmt *) node)->view);
}

static bool
sequence_lasts(const Node *node)
{
	return is_temporary(((const CreateSeqStmt *) node)->sequence);
}

static bool
transaction_lasts(const Node *node)
{
	return ((const TransactionStmt *) node)->kind == TRANS_STMT_PREPARE;
}

#define TEMPORARY	"makes a temporary object that lasts as long as the session"

/* The statements that outlive their operation. */
static const struct
{
	NodeTag		tag;
	bool		(*lasts) (const Node *node);	/* NULL: always */
	const char *effect;
}			lasting_statements[] = {
	{T_VariableSetStmt, set_lasts, "changes a setting for the rest of the session"},
	{T_PrepareStmt, NULL, "leaves a prepared statement behind"},
	{T_DeallocateStmt, NULL, "drops prepared statements of the session"},
	{T_ListenStmt, NULL, "lets the session listen from then on"},
	{T_UnlistenStmt, NULL, "ends what the session listens to"},
	{T_DiscardStmt, NULL, "discards what belongs to the session"},
	{T_LoadStmt, NULL, "loads a library for the rest of the session"},
	{T_DeclareCursorStmt, cursor_lasts, "WITH HOLD leaves a cursor open"},
	{T_CreateStmt, table_lasts, TEMPORARY},
	{T_CreateTableAsStmt, table_as_lasts, TEMPORARY},
	{T_SelectStmt, select_into_lasts, "INTO TEMP " TEMPORARY},
	{T_ViewStmt, view_lasts, TEMPORARY},
	{T_CreateSeqStmt, sequence_lasts, TEMPORARY},
	{T_TransactionStmt, transaction_lasts, "leaves a prepared transaction behind"},
};

static void
require_nothing_left(Node *statement)
{
	for (int i = 0; i < lengthof(lasting_statements); i++)
		if (nodeTag(statement) == lasting_statements[i].tag &&
			(lasting_statements[i].lasts == NULL || lasting_statements[i].lasts(statement)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the workload must not change the state of its session"),
					 errdetail("%s %s.", CreateCommandName(statement), lasting_statements[i].effect),
					 errhint("Connections are shared: use what ends with its transaction, like SET LOCAL or ON COMMIT DROP.")));
}

static void
require_no_client(const Node *statement)
{
	const CopyStmt *copy = (const CopyStmt *) statement;

	if (IsA(statement, CopyStmt) && copy->filename == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the workload must not need a client that copies"),
				 errdetail("COPY %s would wait for one.", copy->is_from ? "FROM STDIN" : "TO STDOUT"),
				 errhint("Use INSERT or SELECT.")));
}

/* The position of a parse error is one in the workload, not in the caller's query. */
static void
parse_error_callback(void *sql)
{
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(sql);
	}
	errcontext("option \"workload\"");
}

/*
 * Parses the SQL.  That it does not parse is for the run to report, with the
 * verdict that belongs to it: returns false then.
 */
static bool
workload_parse(const char *sql, List **statements)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool parsed = false;
	ErrorContextCallback callback = {
		.callback = parse_error_callback,
		.arg = unconstify(char *, sql),
	};

	/* The parser takes no lock, opens no table: there is nothing to roll back. */
	PG_TRY();
	{
		callback.previous = error_context_stack;
		error_context_stack = &callback;
		*statements = pg_parse_query(sql);
		error_context_stack = callback.previous;
		parsed = true;
	}
	PG_CATCH();
	{
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return parsed;
}

/* ERROR if operations of a pool must not run this SQL. */
void
workload_require(const char *sql)
{
	List	   *statements;
	ListCell   *lc;

	if (!workload_parse(sql, &statements))
		return;
	if (statements == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the workload has no statement"),
				 errhint("Give SQL, or leave option \"workload\" out for the scenario's own.")));
	foreach(lc, statements)
	{
		Node	   *statement = lfirst_node(RawStmt, lc)->stmt;

		/* With ANALYZE it is executed. */
		if (IsA(statement, ExplainStmt))
			statement = ((ExplainStmt *) statement)->query;
		require_nothing_left(statement);
		require_no_client(statement);
	}
}
