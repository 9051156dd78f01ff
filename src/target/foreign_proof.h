/*
 * foreign_proof.h
 *		The proof that a run has left nothing on its foreign servers.
 */
#pragma once

#include "story/story.h"

extern int	foreign_proof_left(Run *run);
extern void foreign_proof_close(Run *run);
