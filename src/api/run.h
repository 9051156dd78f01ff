/*
 * run.h
 *		Run control as SQL sees it.
 */
#ifndef POOL_EXHAUST_API_RUN_H
#define POOL_EXHAUST_API_RUN_H

extern void run_init(void);

#endif							/* POOL_EXHAUST_API_RUN_H */
