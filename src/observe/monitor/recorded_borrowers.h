/*
 * recorded_borrowers.h
 *		The borrowers in the second that is being recorded.
 */
#pragma once

#include "base/recorder/record.h"

/* Notes which borrowers have the connections that are suspected of a leak for that; needs its services and suspects. */
extern void recorded_borrowers_note(RecordedSecond *second);
