/*
 * incident_names.c
 *		The names in an incident, for readers that may see them.
 */
#include "postgres.h"

#include "advise/incident/incident_names.h"

void
incident_hide(Incident *incident, bool (*may_see) (Oid role))
{
	for (int i = 0; i < incident->nservices; i++)
		if (!may_see(incident->services[i].role))
			strlcpy(incident->services[i].name, INCIDENT_HIDDEN, SERVICE_LEN);
	for (int i = 0; i < incident->nborrowers; i++)
		if (!may_see(incident->borrowers[i].role))
		{
			strlcpy(incident->borrowers[i].service, INCIDENT_HIDDEN, SERVICE_LEN);
			strlcpy(incident->borrowers[i].name, INCIDENT_HIDDEN, BORROWER_LEN);
		}
}
