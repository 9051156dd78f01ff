/*
 * sweep.h
 *		Puts right what runs left behind when the server crashed.
 */
#pragma once

extern bool sweep(void);

extern PGDLLEXPORT void sweep_main(Datum arg);
