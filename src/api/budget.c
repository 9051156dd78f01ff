/*
 * budget.c
 *		Do the pools that are declared add up: pool_exhaust_budget(), and
 *		pool_exhaust_budget_import(), which declares them.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "advise/budget/budget.h"
#include "advise/budget/import.h"
#include "api/launch.h"
#include "base/option_words.h"
#include "report/report.h"

PG_FUNCTION_INFO_V1(pool_exhaust_budget);
PG_FUNCTION_INFO_V1(pool_exhaust_budget_import);

#define OPTIONS_HINT "There is one option, on_fail: %s.  For example: {\"on_fail\": \"error\"}."

/* Returns what on_fail says; ERROR if there is any other key, or it is another word. */
static OnFail
on_fail_read(Jsonb *options)
{
	JsonbIterator *it = JsonbIteratorInit(&options->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	int			on_fail = ON_FAIL_REPORT;

	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be one JSON object"),
				 errhint(OPTIONS_HINT, words_text(&on_fail_words))));
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		char	   *text = (token == WJB_KEY || token == WJB_VALUE) && value.type == jbvString
			? pnstrdup(value.val.string.val, value.val.string.len) : "";

		if (token == WJB_KEY && strcmp(text, "on_fail") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a budget has no option \"%s\"", text),
					 errhint(OPTIONS_HINT, words_text(&on_fail_words))));
		if (token == WJB_VALUE && (on_fail = words_find(&on_fail_words, text)) < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"on_fail\" must be one of: %s", words_text(&on_fail_words)),
					 errhint(OPTIONS_HINT, words_text(&on_fail_words))));
	}
	return (OnFail) on_fail;
}

Datum
pool_exhaust_budget(PG_FUNCTION_ARGS)
{
	const ReportFormat *format;
	OnFail		on_fail;
	ReportData *document;

	arg_require(fcinfo, 0, "format", "Leave it out for text.");
	arg_require(fcinfo, 1, "options", "Leave it out, or give an empty object.");
	format = document_format_find(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	on_fail = on_fail_read(PG_GETARG_JSONB_P(1));
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	document = budget_document();
	if (on_fail == ON_FAIL_ERROR && strcmp(document->verdict, "pass") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_ASSERT_FAILURE),
				 errmsg("the budget: %s", document->verdict),
				 errdetail("%s", document_failures(document)),
				 errhint("SELECT pool_exhaust_budget() shows the whole of it.")));
	report_put_document((ReturnSetInfo *) fcinfo->resultinfo, document, format);
	return (Datum) 0;
}

Datum
pool_exhaust_budget_import(PG_FUNCTION_ARGS)
{
	arg_require(fcinfo, 0, "document", "Give the text of the document, or for kind console the name of a foreign server.");
	arg_require(fcinfo, 1, "kind", "For example csv.");
	PG_RETURN_INT32(budget_import(text_to_cstring(PG_GETARG_TEXT_PP(0)), text_to_cstring(PG_GETARG_TEXT_PP(1))));
}
