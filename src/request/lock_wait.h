/*
 * lock_wait.h
 *		Which lock a process waits for.
 */
#pragma once

extern char *lock_wait_text(int pid);
