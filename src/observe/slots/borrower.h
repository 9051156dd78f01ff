/*
 * borrower.h
 *		What the session in a slot says of its borrower.
 */
#pragma once

#include "base/borrower.h"
#include "observe/slots/slot.h"

/*
 * Reads it; false, and nothing in "borrower", if the session has never named one.  Takes no
 * lock.  The name is in the encoding of the session's database: see text_make_printable().
 */
extern bool borrower_read(int number, const Slot *slot, Borrower *borrower);
