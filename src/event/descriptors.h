/*
 * descriptors.h
 *		Room for the sockets of many sessions in one process.
 */
#ifndef POOL_EXHAUST_EVENT_DESCRIPTORS_H
#define POOL_EXHAUST_EVENT_DESCRIPTORS_H

/* Descriptors that a runner needs beside those of its sessions. */
#define SPARE_DESCRIPTORS	64

extern int	descriptors_raise(int sessions);

#endif							/* POOL_EXHAUST_EVENT_DESCRIPTORS_H */
