/*
 * descriptors.h
 *		Room for the sockets of many sessions in one process.
 */
#pragma once

/* Descriptors that a runner needs beside those of its sessions. */
#define SPARE_DESCRIPTORS	64

extern int	descriptors_raise(int sessions);
