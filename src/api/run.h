/*
 * run.h
 *		Run control as SQL sees it.
 */
#pragma once

extern void run_init(void);
