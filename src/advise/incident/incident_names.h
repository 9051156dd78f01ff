/*
 * incident_names.h
 *		The names in an incident, for readers that may see them.
 */
#pragma once

#include "advise/incident/incident.h"

/* What stands for a name that may not be seen. */
#define INCIDENT_HIDDEN	"(hidden)"

/* Puts "(hidden)" in the place of the names of services that may not be seen, and of their borrowers. */
extern void incident_hide(Incident *incident, bool (*may_see) (Oid role));
