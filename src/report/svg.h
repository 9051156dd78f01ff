/*
 * svg.h
 *		Report format svg: one chart.
 */
#pragma once

#include "report/format.h"

#define SVG_PREFIX	"svg:"

extern const ReportFormat *svg_format_find(const char *name);
