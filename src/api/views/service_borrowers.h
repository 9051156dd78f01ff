/*
 * service_borrowers.h
 *		The borrowers of each service.
 */
#pragma once

#include "observe/monitor/service.h"

/* The borrowed sessions of all services. */
typedef struct ServiceBorrowers ServiceBorrowers;

/* What there is to say of one service. */
typedef struct BorrowedFigures
{
	int			sessions;		/* that are borrowed; the rest stands only if there are any */
	const char *name;			/* of the borrower that has had one for longest, palloc'd */
	TimestampTz since;
	char	   *json;			/* the borrowers with most of them, palloc'd */
} BorrowedFigures;

/* palloc'd, with room for all sessions. */
extern ServiceBorrowers *service_borrowers_create(void);

/* Notes a session of the service, if it is borrowed. */
extern void service_borrowers_note(ServiceBorrowers *borrowers, const Service *service, int number, const Slot *slot);

/* To be called when all sessions are noted, and before the figures are asked for. */
extern void service_borrowers_sort(ServiceBorrowers *borrowers);
extern BorrowedFigures service_borrowers_of(const ServiceBorrowers *borrowers, const Service *service);
