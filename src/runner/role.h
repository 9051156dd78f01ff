/*
 * role.h
 *		The login roles of runs: made, retired, and swept when a run could not.
 */
#pragma once

extern Oid	role_make(const char *name, const char *verifier, int limit, const char *valid_until,
					  const char *database, bool settled);
extern char *role_retire(Oid role);
extern void role_disown(Oid role);
extern void roles_sweep(int place);
