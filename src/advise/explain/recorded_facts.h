/*
 * recorded_facts.h
 *		What explanations are judged by, at a past moment: from what was recorded.
 */
#pragma once

#include "advise/explain/facts.h"

/*
 * Reads them, palloc'd; NULL if that moment was not recorded, and then says why, as far as
 * that is known.  Reads no more than so many blocks; may throw only for want of memory.
 */
extern Facts *facts_recorded(TimestampTz at, int blocks_max, bool (*may_see) (Oid role), const char **why);
