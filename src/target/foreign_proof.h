/*
 * foreign_proof.h
 *		The proof that a run has left nothing on its foreign servers.
 */
#ifndef POOL_EXHAUST_TARGET_FOREIGN_PROOF_H
#define POOL_EXHAUST_TARGET_FOREIGN_PROOF_H

#include "story/story.h"

extern int	foreign_proof_left(Run *run);
extern void foreign_proof_close(Run *run);

#endif							/* POOL_EXHAUST_TARGET_FOREIGN_PROOF_H */
