/*
 * identity.h
 *		The login role of a run: made, used and dropped by the run.
 */
#ifndef POOL_EXHAUST_IDENTITY_H
#define POOL_EXHAUST_IDENTITY_H

#include "load/session.h"
#include "scenario/scenario.h"

extern void identity_create(Run *run, int place, Login *login);
extern void identity_drop(Run *run);
extern int	identity_sweep(void);

/* The database that a role's comment names, if it is the role of a run. */
extern Oid	identity_database(const char *comment);

#endif							/* POOL_EXHAUST_IDENTITY_H */
