/*
 * incident_page.h
 *		The pages /incidents and /incident.
 */
#pragma once

extern void incident_page_init(void);
