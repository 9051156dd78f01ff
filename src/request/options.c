/*
 * options.c
 *		jsonb options -> a checked struct, by way of one list: shmem/options.h.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "request/option_type.h"
#include "request/options.h"
#include "target/target.h"

/* An option and its field in Options have one name. */
#define SPEC(name_, type_) \
	[OPTION_##name_] = {.name = #name_, .type = &(type_), .offset = offsetof(Options, name_), \
	.size = sizeof(((Options *) NULL)->name_)
#define NUMBER_SPEC(name_, min_, max_, what_) \
	SPEC(name_, option_number), .min = (min_), .max = (max_), .what = (what_)},
#define WORD_SPEC(name_) \
	SPEC(name_, option_word), .words = &name_##_words},
#define TEXT_SPEC(name_, bytes_, what_, unset_) \
	SPEC(name_, option_text), .max = (bytes_) - 1, .what = (what_), .unset = (unset_)},
#define LEVELS_SPEC(name_, min_, max_) \
	SPEC(name_, option_levels), .min = (min_), .max = (max_)},
#define NAMES_SPEC(name_, what_) \
	SPEC(name_, option_names), .what = (what_)},

static const OptionSpec option_specs[OPTIONS] = {
	OPTION_LIST(NUMBER_SPEC, WORD_SPEC, TEXT_SPEC, LEVELS_SPEC, NAMES_SPEC)
};

/* What every scenario has beside its own options. */
static const OptionDefault common_options[] = {
	{OPTION_profile, {PROFILE_QUICK}},
	{OPTION_seed, .random = true},
	{OPTION_timeout_ms, {60 * 1000, 300 * 1000, 4 * 3600 * 1000}},
	{OPTION_on_fail, {ON_FAIL_REPORT}},
	{OPTION_bystanders, {BYSTANDERS_REFUSE}},
	{OPTION_database},
	{OPTION_handshakes, {8, 8, 8}},
	{OPTION_chaos, {0, 0, 0}},
	{OPTION_fault, {FAULT_NONE}},
	{OPTION_fault_ms, {0, 0, 0}},
	{OPTION_repeat, {0, 0, 0}},
	{OPTION_against, {0, 0, 0}},
	{OPTION_END}
};

/* What messages call it; palloc'd. */
char *
scenario_subject(const Scenario *scenario)
{
	return scenario->bare ? psprintf("a %s", scenario->name) : psprintf("scenario \"%s\"", scenario->name);
}

/* Is it one of the scenario's own, or has the scenario a default of its own for it? */
static bool
option_is_own(const Scenario *scenario, OptionId id)
{
	for (const OptionDefault *option = scenario->options; option->id != OPTION_END; option++)
		if (option->id == id)
			return true;
	return false;
}

static bool
option_is_common(const OptionDefault *option)
{
	return option >= common_options && option < common_options + lengthof(common_options);
}

/*
 * From the end of a scenario's own options to the common ones, but for those
 * that it has itself, then to NULL.
 */
static const OptionDefault *
option_next(const Scenario *scenario, const OptionDefault *option)
{
	if (option->id == OPTION_END && !scenario->bare && !option_is_common(option))
		option = common_options;
	while (option->id != OPTION_END && option_is_common(option) && option_is_own(scenario, option->id))
		option++;
	return option->id != OPTION_END ? option : NULL;
}

#define foreach_option(option, scenario) \
	for (const OptionDefault *option = option_next(scenario, (scenario)->options); \
		 option != NULL; option = option_next(scenario, option + 1))

static void *
option_field(const Options *options, const OptionSpec *spec)
{
	return (char *) options + spec->offset;
}

static char *
options_list(const Scenario *scenario)
{
	StringInfoData list;

	initStringInfo(&list);
	foreach_option(option, scenario)
		appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "", option_specs[option->id].name);
	return list.data;
}

/* Returns the option of that name if the scenario has it; otherwise ERROR. */
static const OptionSpec *
spec_find(const Scenario *scenario, const char *name)
{
	foreach_option(option, scenario)
		if (strcmp(option_specs[option->id].name, name) == 0)
			return &option_specs[option->id];
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s has no option \"%s\"", scenario_subject(scenario), name),
			 errhint("Options are: %s.", options_list(scenario))));
}

/*
 * Returns what was asked for by a jsonb object.  ERROR names the key, what is
 * wrong with it and what would be right.
 */
AskedOptions
options_parse(Jsonb *jsonb, const Scenario *scenario)
{
	AskedOptions asked = {0};
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	const OptionSpec *spec = NULL;

	if (!JB_ROOT_IS_OBJECT(jsonb))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be one JSON object"),
				 errhint("For example: {\"%s\": %s}.  Options are: %s.",
						 scenario->bare ? "hold_ms" : "profile",
						 scenario->bare ? "60000" : "\"standard\"", options_list(scenario))));

	it = JsonbIteratorInit(&jsonb->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			spec = spec_find(scenario, pnstrdup(value.val.string.val, value.val.string.len));
		else if (token == WJB_VALUE)
		{
			option_read(spec, option_field(&asked.values, spec), &value);
			asked.given.has[spec - option_specs] = true;
		}
	}
	return asked;
}

/* Options of a run that those which it starts do not get: its time, and that it starts them. */
static bool
option_is_kept(OptionId id)
{
	return id == OPTION_timeout_ms || id == OPTION_repeat || id == OPTION_against;
}

/*
 * Returns what a run of another scenario is asked for as a part of this one:
 * the same, where it has the option.
 */
AskedOptions
options_pass_on(const AskedOptions *asked, const Scenario *scenario)
{
	AskedOptions passed = {.values = asked->values};

	passed.values.repeat = passed.values.against = 0;
	foreach_option(option, scenario)
		passed.given.has[option->id] = asked->given.has[option->id] && !option_is_kept(option->id);
	return passed;
}

/*
 * Returns the options that are in force for a request, but for what its target
 * knows better: what was asked for, and the defaults of its profile for the
 * rest.  Options that the scenario does not have are zero.
 */
Options
options_in_force(const RunRequest *request, const Scenario *scenario)
{
	const AskedOptions *asked = &request->asked;
	Profile		profile = (Profile) asked->values.profile;
	Options		options = {0};

	foreach_option(option, scenario)
	{
		const OptionSpec *spec = &option_specs[option->id];
		void	   *field = option_field(&options, spec);

		if (asked->given.has[option->id])
			memcpy(field, option_field(&asked->values, spec), spec->size);
		else if (spec->type->reset != NULL)
			spec->type->reset(field, option, profile);
	}
	options.timeout_ms = Min(options.timeout_ms, request->time_max_ms);
	if (scenario->complete != NULL)
		scenario->complete(request, &options);
	return options;
}

/* Does the target decide on it, as the caller does not? */
static bool
option_is_left(const RunRequest *request, const OptionDefault *option)
{
	return option->inherits && target_types[request->target]->knows_size &&
		!request->asked.given.has[option->id];
}

/* Returns the options that are left to the target of the request. */
OptionSet
options_left_to_target(const RunRequest *request, const Scenario *scenario)
{
	OptionSet	left = {0};

	foreach_option(option, scenario)
		left.has[option->id] = option_is_left(request, option);
	return left;
}

/*
 * Returns the options in force as the text of a JSON object, palloc'd, without
 * those that are left to the target, and those that are empty.
 */
char *
options_json(const RunRequest *request, const Scenario *scenario, const Options *options)
{
	StringInfoData json;

	initStringInfo(&json);
	foreach_option(option, scenario)
	{
		const OptionSpec *spec = &option_specs[option->id];
		const void *field = option_field(options, spec);

		if (option_is_left(request, option) || (spec->type->is_empty != NULL && spec->type->is_empty(field)))
			continue;
		appendStringInfo(&json, "%s\"%s\": ", json.len > 0 ? ", " : "{", spec->name);
		spec->type->write(spec, field, &json);
	}
	appendStringInfoChar(&json, '}');
	return json.data;
}

/* Options that do not change what is measured: the seed, how a run ends, on what it is judged. */
static const OptionId unmeasured[] = {
	OPTION_profile, OPTION_seed, OPTION_timeout_ms, OPTION_on_fail, OPTION_bystanders, OPTION_fault, OPTION_fault_ms,
	OPTION_repeat, OPTION_against,
	OPTION_tolerance_ms, OPTION_tolerance_percent, OPTION_success_percent, OPTION_burst_error_percent,
	OPTION_response_limit_ms, OPTION_recovery_limit_ms, OPTION_latency_limit_ms, OPTION_latency_limit_percent,
	OPTION_keep_percent
};

static bool
option_is_measured(OptionId id)
{
	for (int i = 0; i < lengthof(unmeasured); i++)
		if (unmeasured[i] == id)
			return false;
	return true;
}

/* Returns the value of an option as JSON, palloc'd. */
static char *
option_json(const OptionSpec *spec, const Options *options)
{
	StringInfoData json;

	initStringInfo(&json);
	spec->type->write(spec, option_field(options, spec), &json);
	return json.data;
}

/* Returns whether two requests ask the same of a scenario, but for what a run of its own has each time, like its seed. */
bool
options_ask_same(const RunRequest *a, const RunRequest *b, const Scenario *scenario)
{
	Options		asked_a = options_in_force(a, scenario);
	Options		asked_b = options_in_force(b, scenario);

	foreach_option(option, scenario)
	{
		const OptionSpec *spec = &option_specs[option->id];

		if (option->id != OPTION_seed && option->id != OPTION_on_fail && option->id != OPTION_bystanders &&
			!option_is_kept(option->id) && strcmp(option_json(spec, &asked_a), option_json(spec, &asked_b)) != 0)
			return false;
	}
	return true;
}

/*
 * Returns those of the options in force that change what is measured and differ from
 * the defaults of their profile, as the text of a JSON object, palloc'd; what the
 * target has decided differs, too.
 */
char *
options_changed_json(const RunRequest *request, const Scenario *scenario, const Options *options)
{
	RunRequest	bare = *request;
	Options		defaults;
	StringInfoData json;

	bare.asked = (AskedOptions) {.values.profile = options->profile};
	defaults = options_in_force(&bare, scenario);
	initStringInfo(&json);
	foreach_option(option, scenario)
	{
		const OptionSpec *spec = &option_specs[option->id];
		char	   *value = option_json(spec, options);

		if (option_is_measured(option->id) && strcmp(value, option_json(spec, &defaults)) != 0)
			appendStringInfo(&json, "%s\"%s\": %s", json.len > 0 ? ", " : "{", spec->name, value);
	}
	appendStringInfoString(&json, json.len > 0 ? "}" : "{}");
	return json.data;
}

/*
 * Returns a JSON object with the default of each of the scenario's
 * options by profile, and its bounds or words; palloc'd.
 */
char *
options_describe(const Scenario *scenario)
{
	StringInfoData json;

	initStringInfo(&json);
	foreach_option(option, scenario)
	{
		const OptionSpec *spec = &option_specs[option->id];

		appendStringInfo(&json, "%s\"%s\": {", json.len > 0 ? ", " : "{", spec->name);
		spec->type->describe(spec, option, &json);
		appendStringInfoChar(&json, '}');
	}
	appendStringInfoChar(&json, '}');
	return json.data;
}
