/*
 * json.c
 *		Report format json: everything that is known of a run, as one object in
 *		one line.
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "report/format.h"

static void
json_name(StringInfo json, const char *name)
{
	if (json->data[json->len - 1] != '{')
		appendStringInfoChar(json, ',');
	escape_json(json, name);
	appendStringInfoChar(json, ':');
}

/* JSON as it is; null for "". */
static void
json_raw(StringInfo json, const char *name, const char *value)
{
	json_name(json, name);
	appendStringInfoString(json, value[0] != '\0' ? value : "null");
}

/* A text that is never NULL. */
static void
json_string(StringInfo json, const char *name, const char *value)
{
	json_name(json, name);
	escape_json(json, value);
}

/* null for "". */
static void
json_text(StringInfo json, const char *name, const char *value)
{
	if (value[0] != '\0')
		json_string(json, name, value);
	else
		json_raw(json, name, "");
}

/* As few digits as restore it; null for what JSON has no number for. */
static void
json_number(StringInfo json, const char *name, bool known, double value)
{
	char		digits[DOUBLE_SHORTEST_DECIMAL_LEN] = "";

	if (known && isfinite(value))
		double_to_shortest_decimal_buf(value, digits);
	json_raw(json, name, digits);
}

static void
json_check(StringInfo json, const ReportCheck *check, int seq)
{
	const Comparison *c = &check->comparison;
	bool		numbers = c->operator != OPERATOR_NONE;

	appendStringInfoString(json, seq > 1 ? ",{" : "{");
	json_number(json, "seq", true, seq);
	json_string(json, "phase", check->phase);
	json_string(json, "name", check->name);
	json_string(json, "outcome", check->outcome);
	json_string(json, "expected", check->expected);
	json_string(json, "observed", check->observed);
	json_text(json, "unit", check->unit);
	json_text(json, "detail", check->detail);
	json_text(json, "operator", numbers ? operator_word(c->operator) : "");
	json_number(json, "expected_num", numbers, c->expected);
	json_number(json, "tolerance", numbers && comparison_has_tolerance(c), c->tolerance);
	json_number(json, "observed_num", numbers, c->observed);
	appendStringInfoChar(json, '}');
}

static void
json_write(const ReportData *data, StringInfo out)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	json_raw(&json, "run_id", psprintf(INT64_FORMAT, data->run_id));
	json_text(&json, "scenario", data->scenario);
	json_text(&json, "target", data->target);
	json_text(&json, "verdict", data->verdict);
	json_text(&json, "reason", data->reason);
	json_raw(&json, "options", data->options);
	json_raw(&json, "seed", data->seed);
	json_raw(&json, "started_at", data->started_at);
	json_raw(&json, "finished_at", data->finished_at);
	json_text(&json, "server_version", data->server_version);
	json_text(&json, "extension_version", data->extension_version);
	json_raw(&json, "summary", data->summary);
	json_name(&json, "checks");
	appendStringInfoChar(&json, '[');
	for (int i = 0; i < data->nchecks; i++)
		json_check(&json, &data->checks[i], i + 1);
	appendStringInfoString(&json, "]}");

	/* As jsonb it is sorted and spaced as everywhere else in PostgreSQL. */
	appendStringInfo(out, "%s\n",
					 DatumGetCString(DirectFunctionCall1(jsonb_out,
														 DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)))));
}

const ReportFormat report_format_json = {
	.name = "json",
	.write = json_write,
};
