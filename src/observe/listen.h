/*
 * listen.h
 *		Which sessions wait for notifications.
 */
#ifndef POOL_EXHAUST_LISTEN_H
#define POOL_EXHAUST_LISTEN_H

#include "slot.h"

extern void listen_init(void);
extern bool slot_listens(int number, const Slot *slot);

#endif							/* POOL_EXHAUST_LISTEN_H */
