/*
 * options.c
 *		jsonb options -> a checked struct, by way of one table.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "options.h"

typedef enum OptionType
{
	OPTION_INTEGER,
	OPTION_WORD,
	OPTION_NAME
} OptionType;

static const char *const profile_words[] = {"quick", "standard", "soak", NULL};
static const char *const on_fail_words[] = {"report", "error", NULL};
static const char *const bystanders_words[] = {"refuse", "abort", "ignore", NULL};
static const char *const fault_words[] = {
	"none", "keep_slot", "miscount", "no_limit", "leave_session", "miss_health", NULL
};

/* The seed is chosen at random when none is given. */
#define SEED_RANDOM	(-1)

static const struct OptionSpec
{
	const char *name;
	OptionType	type;
	size_t		offset;
	const char *const *words;	/* of OPTION_WORD, in the order of its enum */
	int64		min;			/* of OPTION_INTEGER */
	int64		max;
	int64		defaults[PROFILES];
}			option_specs[] = {
	{"profile", OPTION_WORD, offsetof(Options, profile), profile_words},
	{"seed", OPTION_INTEGER, offsetof(Options, seed), NULL,
	0, PG_INT32_MAX, {SEED_RANDOM, SEED_RANDOM, SEED_RANDOM}},
	{"timeout_ms", OPTION_INTEGER, offsetof(Options, timeout_ms), NULL,
	100, 24 * 3600 * 1000, {60 * 1000, 300 * 1000, 4 * 3600 * 1000}},
	{"on_fail", OPTION_WORD, offsetof(Options, on_fail), on_fail_words},
	{"bystanders", OPTION_WORD, offsetof(Options, bystanders), bystanders_words},
	{"database", OPTION_NAME, offsetof(Options, database)},
	{"knocks", OPTION_INTEGER, offsetof(Options, knocks), NULL,
	1, 10000, {10, 50, 1000}},
	{"role_limit", OPTION_INTEGER, offsetof(Options, role_limit), NULL,
	1, 10000, {10, 20, 20}},
	{"handshakes", OPTION_INTEGER, offsetof(Options, handshakes), NULL,
	1, 64, {8, 8, 8}},
	{"fault", OPTION_WORD, offsetof(Options, fault), fault_words},
};

const char *const target_names[] = {
	[TARGET_SERVER] = "server",
	[TARGET_ROLE] = "role",
};

/* Returns the target of that name; ERROR with the list if there is none. */
TargetKind
target_find(const char *name)
{
	for (int i = 0; i < lengthof(target_names); i++)
		if (strcmp(target_names[i], name) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("target \"%s\" does not exist", name),
			 errhint("Targets are: server, role.")));
}

static int64 *
option_integer(Options *options, const struct OptionSpec *spec)
{
	return (int64 *) ((char *) options + spec->offset);
}

static char *
option_name(Options *options, const struct OptionSpec *spec)
{
	return (char *) options + spec->offset;
}

static char *
words_list(const char *const *words)
{
	StringInfoData list;

	initStringInfo(&list);
	for (; *words != NULL; words++)
		appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "", *words);
	return list.data;
}

static char *
options_list(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(option_specs); i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", option_specs[i].name);
	return list.data;
}

static const struct OptionSpec *
spec_find(const char *name)
{
	for (int i = 0; i < lengthof(option_specs); i++)
		if (strcmp(option_specs[i].name, name) == 0)
			return &option_specs[i];
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" does not exist", name),
			 errhint("Options are: %s.", options_list())));
}

static const char *
jsonb_type(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return "null";
		case jbvString:
			return "a string";
		case jbvNumeric:
			return "a number";
		case jbvBool:
			return "a boolean";
		default:
			return "an array or an object";
	}
}

/* What would be right, for a hint. */
static char *
spec_bounds(const struct OptionSpec *spec)
{
	if (spec->type == OPTION_WORD)
		return psprintf("Values are: %s.", words_list(spec->words));
	if (spec->type == OPTION_NAME)
		return pstrdup("Give the name of a database, or leave the option out for the caller's.");
	return psprintf("Whole numbers from " INT64_FORMAT " to " INT64_FORMAT " are possible; view pool_exhaust_scenarios describes the options.",
					spec->min, spec->max);
}

static void
require_type(const struct OptionSpec *spec, const JsonbValue *value,
			 enum jbvType type, const char *wanted)
{
	if (value->type != type)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be %s, not %s", spec->name, wanted,
						jsonb_type(value)),
				 errhint("%s", spec_bounds(spec))));
}

static void
option_set_integer(Options *options, const struct OptionSpec *spec, const JsonbValue *value)
{
	char	   *text;
	char	   *end;
	int64		number;

	require_type(spec, value, jbvNumeric, "a whole number");
	text = DatumGetCString(DirectFunctionCall1(numeric_out,
											   NumericGetDatum(value->val.numeric)));
	errno = 0;
	number = strtoll(text, &end, 10);
	if (*end != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be a whole number, not %.40s", spec->name, text),
				 errhint("%s", spec_bounds(spec))));
	if (errno == ERANGE || number < spec->min || number > spec->max)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" is %.40s, outside the bounds " INT64_FORMAT " to " INT64_FORMAT,
						spec->name, text, spec->min, spec->max),
				 errhint("%s", spec_bounds(spec))));
	*option_integer(options, spec) = number;
}

static void
option_set_word(Options *options, const struct OptionSpec *spec, const JsonbValue *value)
{
	char	   *word;

	require_type(spec, value, jbvString, "a string");
	word = pnstrdup(value->val.string.val, value->val.string.len);
	for (int i = 0; spec->words[i] != NULL; i++)
	{
		if (strcmp(spec->words[i], word) == 0)
		{
			*option_integer(options, spec) = i;
			return;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" cannot be \"%s\"", spec->name, word),
			 errhint("%s", spec_bounds(spec))));
}

static void
option_set_name(Options *options, const struct OptionSpec *spec, const JsonbValue *value)
{
	require_type(spec, value, jbvString, "a string");
	if (value->val.string.len == 0 || value->val.string.len >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" has %d bytes, outside the bounds 1 to %d",
						spec->name, value->val.string.len, NAMEDATALEN - 1),
				 errhint("%s", spec_bounds(spec))));
	memcpy(option_name(options, spec), value->val.string.val, value->val.string.len);
	option_name(options, spec)[value->val.string.len] = '\0';
}

static void
option_set(Options *options, const struct OptionSpec *spec, const JsonbValue *value)
{
	switch (spec->type)
	{
		case OPTION_INTEGER:
			option_set_integer(options, spec, value);
			break;
		case OPTION_WORD:
			option_set_word(options, spec, value);
			break;
		case OPTION_NAME:
			option_set_name(options, spec, value);
			break;
	}
}

static void
options_set_defaults(Options *options, Profile profile)
{
	for (int i = 0; i < lengthof(option_specs); i++)
		if (option_specs[i].type != OPTION_NAME)
			*option_integer(options, &option_specs[i]) = option_specs[i].defaults[profile];
	options->profile = profile;
	options->database[0] = '\0';
}

/* The profile decides the defaults of the others, so it is looked up first. */
static void
options_set_profile(Options *options, Jsonb *jsonb)
{
	JsonbValue	key = {.type = jbvString, .val.string = {.val = "profile", .len = 7}};
	JsonbValue *value = findJsonbValueFromContainer(&jsonb->root, JB_FOBJECT, &key);

	options_set_defaults(options, PROFILE_QUICK);
	if (value != NULL)
	{
		option_set(options, spec_find("profile"), value);
		options_set_defaults(options, options->profile);
	}
}

/*
 * Fills in "options" from a jsonb object, with the defaults of its profile for
 * what it does not name.  ERROR names the key, what was wrong with it and what
 * would be right.
 */
void
options_parse(Jsonb *jsonb, Options *options)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	const struct OptionSpec *spec = NULL;

	if (!JB_ROOT_IS_OBJECT(jsonb))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be one JSON object"),
				 errhint("For example: {\"knocks\": 20}.  Options are: %s.", options_list())));

	memset(options, 0, sizeof(*options));
	options_set_profile(options, jsonb);
	it = JsonbIteratorInit(&jsonb->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			spec = spec_find(pnstrdup(value.val.string.val, value.val.string.len));
		else if (token == WJB_VALUE)
			option_set(options, spec, &value);
	}
	if (options->seed == SEED_RANDOM)
		options->seed = pg_prng_uint64_range(&pg_global_prng_state, 0, PG_INT32_MAX);
}

/* Returns the options in force as the text of a JSON object, palloc'd. */
char *
options_json(const Options *options)
{
	StringInfoData json;

	initStringInfo(&json);
	for (int i = 0; i < lengthof(option_specs); i++)
	{
		const struct OptionSpec *spec = &option_specs[i];
		int64		number = *option_integer((Options *) options, spec);

		if (spec->type == OPTION_NAME && option_name((Options *) options, spec)[0] == '\0')
			continue;
		appendStringInfo(&json, "%s\"%s\": ", json.len > 0 ? ", " : "{", spec->name);
		if (spec->type == OPTION_INTEGER)
			appendStringInfo(&json, INT64_FORMAT, number);
		else
			escape_json(&json, spec->type == OPTION_WORD ? spec->words[number]
						: option_name((Options *) options, spec));
	}
	appendStringInfoChar(&json, '}');
	return json.data;
}

/*
 * Returns a JSON object that tells each option's default by profile, and its
 * bounds or words; palloc'd.
 */
char *
options_describe(void)
{
	StringInfoData json;

	initStringInfo(&json);
	for (int i = 0; i < lengthof(option_specs); i++)
	{
		const struct OptionSpec *spec = &option_specs[i];

		appendStringInfo(&json, "%s\"%s\": {", i > 0 ? ", " : "{", spec->name);
		if (spec->type == OPTION_NAME)
			appendStringInfoString(&json, "\"default\": \"the caller's\"}");
		else if (spec->type == OPTION_WORD)
			appendStringInfo(&json, "\"default\": \"%s\", \"values\": \"%s\"}",
							 spec->words[0], words_list(spec->words));
		else
		{
			if (spec->defaults[0] == SEED_RANDOM)
				appendStringInfoString(&json, "\"default\": \"random\", ");
			else
				appendStringInfo(&json, "\"default\": " INT64_FORMAT ", \"standard\": " INT64_FORMAT
								 ", \"soak\": " INT64_FORMAT ", ", spec->defaults[PROFILE_QUICK],
								 spec->defaults[PROFILE_STANDARD], spec->defaults[PROFILE_SOAK]);
			appendStringInfo(&json, "\"min\": " INT64_FORMAT ", \"max\": " INT64_FORMAT "}",
							 spec->min, spec->max);
		}
	}
	appendStringInfoChar(&json, '}');
	return json.data;
}
