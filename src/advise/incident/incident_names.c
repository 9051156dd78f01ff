/*
 * incident_names.c
 *		The names in an incident, for readers that may see them.
 */
#include "postgres.h"

#include "advise/incident/incident_names.h"

/* What stands for a name that may not be seen. */
#define HIDDEN	"(hidden)"

void
incident_hide(Incident *incident, bool (*may_see) (Oid role))
{
	for (int i = 0; i < incident->nservices; i++)
		if (!may_see(incident->services[i].role))
			strlcpy(incident->services[i].name, HIDDEN, SERVICE_LEN);
}
