/*
 * descriptors.h
 *		Room for the sockets of many sessions in one process.
 */
#pragma once

#include "base/scale.h"

extern int	descriptors_raise(int sessions);
