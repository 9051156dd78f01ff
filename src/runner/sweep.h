/*
 * sweep.h
 *		Puts right what runs left behind when the server crashed.
 */
#pragma once

extern void sweep(bool again);

extern PGDLLEXPORT void sweep_main(Datum arg);
