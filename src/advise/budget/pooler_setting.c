/*
 * pooler_setting.c
 *		The settings of a pooler: their names, and what they may be.
 */
#include "postgres.h"

#include <math.h>

#include "advise/budget/pooler.h"

DEFINE_WORDS(pooler_section_words, POOLER_SECTION_LIST);
DEFINE_WORDS(pool_mode_words, POOL_MODE_LIST);

typedef struct SettingType
{
	const char *name;			/* in [pgbouncer] */
	const char *own_name;		/* in the other sections, NULL: it is in none */
	int			sections;
	double		fallback;
} SettingType;

static const SettingType setting_types[POOLER_SETTINGS] = {POOLER_SETTING_LIST(LIST_ROW)};

/* Returns its name in that section; NULL if the section has no such setting. */
const char *
pooler_setting_name(PoolerSection section, PoolerSetting setting)
{
	const SettingType *type = &setting_types[setting];

	if ((type->sections & (1 << section)) == 0)
		return NULL;
	return section == SECTION_PGBOUNCER ? type->name : type->own_name;
}

/* Returns the setting of that name in that section, -1 if it is none of those that limit connections. */
int
pooler_setting_find(PoolerSection section, const char *name)
{
	/* The older name */
	if (section == SECTION_DATABASES && strcmp(name, "reserve_pool") == 0)
		return SETTING_RESERVE;
	for (int i = 0; i < POOLER_SETTINGS; i++)
	{
		const char *own = pooler_setting_name(section, i);

		if (own != NULL && strcmp(own, name) == 0)
			return i;
	}
	return -1;
}

/* Is it one of the texts that are kept of a database? */
bool
pooler_setting_is_text(PoolerSection section, const char *name)
{
	return section == SECTION_DATABASES && (strcmp(name, SETTING_DBNAME) == 0 || strcmp(name, SETTING_USER) == 0);
}

/* What PgBouncer takes if it is set nowhere. */
double
pooler_setting_fallback(PoolerSetting setting)
{
	return setting_types[setting].fallback;
}

/* Reads a value; returns NULL, or what it must be: palloc'd, or a constant. */
const char *
pooler_setting_read(PoolerSetting setting, const char *text, double *value)
{
	char	   *end;

	if (setting == SETTING_POOL_MODE)
	{
		int			mode = words_find(&pool_mode_words, text);

		*value = mode;
		return mode >= 0 ? NULL : psprintf("one of: %s", words_text(&pool_mode_words));
	}
	*value = strtod(text, &end);
	if (end == text || *end != '\0' || !(*value >= (setting == SETTING_PROCESSES) && *value <= POOLER_NUMBER_MAX))
		return setting == SETTING_PROCESSES ? "a number from 1 to " CppAsString2(POOLER_NUMBER_MAX)
			: "a number from 0 to " CppAsString2(POOLER_NUMBER_MAX);
	return NULL;
}
