/*
 * processors.h
 *		How much of the processors' time this server took, and how much was left.
 */
#pragma once

/* Since the machine started, of all its processors, in ticks. */
typedef struct ProcessorTimes
{
	uint64		all;
	uint64		idle;
	uint64		ours;			/* of the processes of this server */
} ProcessorTimes;

extern bool processors_read(ProcessorTimes *times);
extern double processors_of_others(const ProcessorTimes *from, const ProcessorTimes *to);
