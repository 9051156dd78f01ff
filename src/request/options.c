/*
 * options.c
 *		jsonb options -> a checked struct, by way of one list: shmem/options.h.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "lib/stringinfo.h"

#include "request/option_type.h"
#include "request/options.h"

/* An option and its field in Options have one name. */
#define SPEC(name_, type_) \
	[OPTION_##name_] = {.name = #name_, .type = &(type_), .offset = offsetof(Options, name_)
#define NUMBER_SPEC(name_, min_, max_, what_) \
	SPEC(name_, option_number), .min = (min_), .max = (max_), .what = (what_)},
#define WORD_SPEC(name_) \
	SPEC(name_, option_word), .words = &name_##_words},
#define TEXT_SPEC(name_, bytes_, what_, unset_) \
	SPEC(name_, option_text), .max = (bytes_) - 1, .what = (what_), .unset = (unset_)},
#define LEVELS_SPEC(name_, min_, max_) \
	SPEC(name_, option_levels), .min = (min_), .max = (max_)},

static const OptionSpec option_specs[OPTIONS] = {
	OPTION_LIST(NUMBER_SPEC, WORD_SPEC, TEXT_SPEC, LEVELS_SPEC)
};

/* What every scenario has beside its own options. */
static const OptionDefault common_options[] = {
	{"profile", {PROFILE_QUICK}},
	{"seed", {OPTION_RANDOM, OPTION_RANDOM, OPTION_RANDOM}},
	{"timeout_ms", {60 * 1000, 300 * 1000, 4 * 3600 * 1000}},
	{"on_fail", {ON_FAIL_REPORT}},
	{"bystanders", {BYSTANDERS_REFUSE}},
	{"database"},
	{"handshakes", {8, 8, 8}},
	{"chaos", {0, 0, 0}},
	{"fault", {FAULT_NONE}},
	{NULL}
};

/* What messages call it; palloc'd. */
char *
scenario_subject(const Scenario *scenario)
{
	return scenario->bare ? psprintf("a %s", scenario->name) : psprintf("scenario \"%s\"", scenario->name);
}

/* Is it one of the scenario's own, or has the scenario a default of its own for it? */
static bool
option_is_own(const Scenario *scenario, const char *name)
{
	for (const OptionDefault *option = scenario->options; option->name != NULL; option++)
		if (strcmp(option->name, name) == 0)
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
	if (option->name == NULL && !scenario->bare && !option_is_common(option))
		option = common_options;
	while (option->name != NULL && option_is_common(option) && option_is_own(scenario, option->name))
		option++;
	return option->name != NULL ? option : NULL;
}

#define foreach_option(option, scenario) \
	for (const OptionDefault *option = option_next(scenario, (scenario)->options); \
		 option != NULL; option = option_next(scenario, option + 1))

static const OptionSpec *
spec_of(const char *name)
{
	for (int i = 0; i < lengthof(option_specs); i++)
		if (strcmp(option_specs[i].name, name) == 0)
			return &option_specs[i];
	elog(ERROR, "option \"%s\" is missing in the table", name);
}

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
		appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "", option->name);
	return list.data;
}

/* Returns the option of that name if the scenario has it; otherwise ERROR. */
static const OptionSpec *
spec_find(const Scenario *scenario, const char *name)
{
	foreach_option(option, scenario)
		if (strcmp(option->name, name) == 0)
			return spec_of(name);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s has no option \"%s\"", scenario_subject(scenario), name),
			 errhint("Options are: %s.", options_list(scenario))));
}

static void
options_reset(Options *options, const Scenario *scenario, Profile profile)
{
	memset(options, 0, sizeof(*options));
	foreach_option(option, scenario)
	{
		const OptionSpec *spec = spec_of(option->name);

		if (spec->type->reset != NULL)
			spec->type->reset(option_field(options, spec), option, profile);
	}
	options->profile = profile;
}

/* What PgBouncer knows by itself, unless the caller says what is expected of it. */
static void
options_inherit(Options *options, const Scenario *scenario, TargetKind target)
{
	foreach_option(option, scenario)
		if (option->inherits && target == TARGET_PGBOUNCER)
			*(int64 *) option_field(options, spec_of(option->name)) = OPTION_INHERIT;
}

/* The profile decides the defaults of the others, so it is looked up first. */
static Profile
options_profile(Jsonb *jsonb, const Scenario *scenario)
{
	const OptionSpec *spec = spec_of("profile");
	JsonbValue	key = {.type = jbvString, .val.string = {.val = "profile", .len = 7}};
	JsonbValue *value = findJsonbValueFromContainer(&jsonb->root, JB_FOBJECT, &key);
	Options		options = {.profile = PROFILE_QUICK};

	if (value != NULL && !scenario->bare)
		option_read(spec, option_field(&options, spec), value);
	return options.profile;
}

/*
 * Fills in "options" from a jsonb object, with the defaults of its profile for
 * what it does not name, or OPTION_INHERIT where the target decides.  ERROR names the key, what was wrong with it and what
 * would be right.  Options that the scenario does not have are zero.
 */
void
options_parse(Jsonb *jsonb, const Scenario *scenario, TargetKind target, Options *options)
{
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

	options_reset(options, scenario, options_profile(jsonb, scenario));
	options_inherit(options, scenario, target);
	it = JsonbIteratorInit(&jsonb->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			spec = spec_find(scenario, pnstrdup(value.val.string.val, value.val.string.len));
		else if (token == WJB_VALUE)
			option_read(spec, option_field(options, spec), &value);
	}
	if (options->seed == OPTION_RANDOM)
		options->seed = pg_prng_uint64_range(&pg_global_prng_state, 0, PG_INT32_MAX);
}

static bool
option_is_unset(const Options *options, const OptionSpec *spec)
{
	if (spec->type == &option_number)
		return *(int64 *) option_field(options, spec) == OPTION_INHERIT;
	return spec->unset != NULL && *(char *) option_field(options, spec) == '\0';
}

/* Returns the scenario's options in force as the text of a JSON object, palloc'd. */
char *
options_json(const Scenario *scenario, const Options *options)
{
	StringInfoData json;

	initStringInfo(&json);
	foreach_option(option, scenario)
	{
		const OptionSpec *spec = spec_of(option->name);

		if (option_is_unset(options, spec))
			continue;
		appendStringInfo(&json, "%s\"%s\": ", json.len > 0 ? ", " : "{", spec->name);
		spec->type->write(spec, option_field(options, spec), &json);
	}
	appendStringInfoChar(&json, '}');
	return json.data;
}

/*
 * Returns the text of a JSON object, palloc'd, with the options that another
 * scenario is to be given beside this one: those that are not as they would be by
 * themselves, if it has them.  The time is for this one alone.
 */
char *
options_given(const Scenario *scenario, const Options *options, const Scenario *other)
{
	Options		defaults;
	StringInfoData json;

	options_reset(&defaults, scenario, (Profile) options->profile);
	defaults.profile = PROFILE_QUICK;
	initStringInfo(&json);
	foreach_option(option, scenario)
	{
		const OptionSpec *spec = spec_of(option->name);
		StringInfoData value;
		StringInfoData unset;

		initStringInfo(&value);
		initStringInfo(&unset);
		spec->type->write(spec, option_field(options, spec), &value);
		spec->type->write(spec, option_field(&defaults, spec), &unset);
		if (strcmp(value.data, unset.data) != 0 && strcmp(spec->name, "timeout_ms") != 0 &&
			(option_is_own(other, spec->name) || option_is_common(option)))
			appendStringInfo(&json, "%s\"%s\": %s", json.len > 0 ? ", " : "{", spec->name, value.data);
	}
	appendStringInfoString(&json, json.len > 0 ? "}" : "{}");
	return json.data;
}

/*
 * Returns a JSON object that tells the default of each of the scenario's
 * options by profile, and its bounds or words; palloc'd.
 */
char *
options_describe(const Scenario *scenario)
{
	StringInfoData json;

	initStringInfo(&json);
	foreach_option(option, scenario)
	{
		const OptionSpec *spec = spec_of(option->name);

		appendStringInfo(&json, "%s\"%s\": {", json.len > 0 ? ", " : "{", spec->name);
		spec->type->describe(spec, option, &json);
		appendStringInfoChar(&json, '}');
	}
	appendStringInfoChar(&json, '}');
	return json.data;
}
