/*
 * pressure.c
 *		Requests that waited, were refused or timed out, against time.
 */
#include "postgres.h"

#include "report/chart/chart.h"

static Plot *
pressure_plot(const ReportData *data)
{
	static const ReportSample none = {0};
	TimePlot   *plot = chart_time_plot(data);
	double	   *values[3];
	double		sum = 0;

	for (int s = 0; s < lengthof(values); s++)
		values[s] = palloc_extended(sizeof(double) * data->nsamples, MCXT_ALLOC_HUGE);
	for (int i = 0; i < data->nsamples; i++)
	{
		const ReportSample *before = i > 0 ? &data->samples[i - 1] : &none;
		const ReportSample *sample = &data->samples[i];

		values[0][i] = sample->waiting;
		values[1][i] = Max(sample->refused - before->refused, 0);
		values[2][i] = Max(sample->timed_out - before->timed_out, 0);
		sum += values[0][i] + values[1][i] + values[2][i];
	}
	plot->nseries = lengthof(values);
	plot->series[0] = (TimeSeries) {"waiting", INK_A, .values = values[0]};
	plot->series[1] = (TimeSeries) {"refused since the sample before", INK_B, .spikes = true, .values = values[1]};
	plot->series[2] = (TimeSeries) {"timed out", INK_C, .spikes = true, .values = values[2]};
	return sum > 0 ? &plot->base : NULL;
}

const ReportChart report_chart_pressure = {
	.name = "pressure",
	.title = "Waiting, refused and timed out",
	.description = "Requests in the queue at each sample; requests that were refused or timed out since the sample before.",
	.plot = pressure_plot,
};
