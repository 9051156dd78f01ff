/*
 * connect.h
 *		A background worker's connection to a database.
 */
#pragma once

extern void worker_connect(Oid database, const char *name, uint32 flags);
