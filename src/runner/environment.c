/*
 * environment.c
 *		What runs must have in common to be compared: what is measured, and with
 *		what; not on what the run is judged, nor whether it has a deliberate fault.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/json.h"

#include "base/text.h"
#include "request/options.h"
#include "runner/environment.h"
#include "story/target_type.h"

static void
add_text(StringInfo json, const char *key, const char *text)
{
	appendStringInfo(json, "\"%s\": ", key);
	escape_json(json, text_printable(text));
	appendStringInfoString(json, ", ");
}

/*
 * Returns it as the text of a JSON object, palloc'd: versions, cores (processors that
 * the run may use), max_connections, target and its kind, way_in (to this server; null:
 * the target is another one, or there was none), sub_run, repeat (whole: it
 * has option repeat; base, candidate: it was started by such a run; otherwise left
 * out), profile, options that differ from the defaults of that profile.  No secret is in
 * it.
 */
char *
environment_json(const Run *run)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	add_text(&json, "server_version", GetConfigOption("server_version", false, false));
	appendStringInfo(&json, "\"server_version_num\": %s, ", GetConfigOption("server_version_num", false, false));
	add_text(&json, "extension_version", EXTVERSION);
	appendStringInfo(&json, "\"cores\": %u, \"max_connections\": %d, ", uv_available_parallelism(), MaxConnections);
	add_text(&json, "target", run->request.target_name);
	add_text(&json, "kind", run->target->name);
	if (run->way_in != NULL)
		add_text(&json, "way_in", run->way_in);
	else
		appendStringInfoString(&json, "\"way_in\": null, ");
	appendStringInfo(&json, "\"sub_run\": %s, ", run->request.part == PART_SCENARIO ? "true" : "false");
	if (request_repeats(&run->request))
		add_text(&json, "repeat", "whole");
	else if (run->request.part == PART_BASE || run->request.part == PART_CANDIDATE)
		add_text(&json, "repeat", run->request.part == PART_BASE ? "base" : "candidate");
	add_text(&json, "profile", profile_words.names[run->options.profile]);
	appendStringInfo(&json, "\"options\": %s}", options_changed_json(&run->request, run->scenario, &run->options));
	return json.data;
}
