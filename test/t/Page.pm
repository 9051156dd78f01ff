# Pages and pictures, for the suites in this directory: are they well-formed, do they
# need nothing from outside, and what do their charts and tables say?
package Page;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(drawn_values is_sound rows_of well_formed);

my $xmllint = grep { -x "$_/xmllint" } split /:/, $ENV{PATH};
diag 'there is no xmllint (package libxml2-utils): tags are counted only' if !$xmllint;

# Is it XML, but for the tags that HTML does not end?
sub well_formed
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($document, $name) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/page.xml';

	unlike($document, qr/[^\n\x20-\x7e]/, "$name: it is ASCII");
	$document =~ s/<!DOCTYPE html>\n//;
	$document =~ s{<(meta [^>]*)>}{<$1/>}g;
	unlink $file;
	append_to_file($file, $document);
	return is(qx(xmllint --noout '$file' 2>&1), '', "$name: it is well-formed") if $xmllint;
	my @open;
	foreach ($document =~ m{<(/?\w+)(?:\s[^>]*?)?(?<!/)>}g)
	{
		s{^/}{} ? ($_ eq (pop @open // '') or push @open, "/$_") : push @open, $_;
	}
	is("@open", '', "$name: tags that are open are closed");
}

# What holds of each page: nothing to run, nothing to load, each chart with what it is.
sub is_sound
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($page, $name) = @_;
	my @charts = $page =~ m{<svg .*?</svg>}sg;
	my %ids;

	well_formed($page, $name);
	like($page, qr/\A<!DOCTYPE html>\n.*<\/html>\n?\z/s, "$name: it is all there");
	like($page, qr{<meta http-equiv="Content-Security-Policy" content="default-src 'none'; }, "$name: and may load nothing");
	unlike($page, qr/<script|<link|<img|<iframe|\son\w+=|https?:|url\(|\@import|javascript:/i, "$name: nor tries to");
	is(scalar(grep { !m{^<svg [^>]*role="img" aria-labelledby="(\S+) (\S+)">\n<title id="\1">[^<]+</title>\n<desc id="\2">[^<]+</desc>} } @charts),
		0, "$name: each chart has a title and a description");
	is(scalar(() = $page =~ m{</svg>\n<details>\n<summary>.*?<table>}sg), scalar(@charts), "$name: and a table");
	is(join(' ', grep { $ids{$_}++ } $page =~ / id="(.*?)"/g), '', "$name: each id is there once");
	return @charts;
}

# The rows of the table with this caption, as lists of their cells.
sub rows_of
{
	my ($page, $caption) = @_;
	my ($body) = $page =~ m{<caption>\Q$caption\E.*?<tbody>(.*?)</tbody>}s;

	return map { [ m{<t[hd][^>]*>(.*?)</t[hd]>}g ] } ($body // '') =~ /<tr>.*/g;
}

# The values that the path of a series stands for, by the scale of its chart.
sub drawn_values
{
	my ($chart, $series) = @_;
	my ($from, $to, $low, $high) = $chart =~ /data-kind="linear".* data-y="(\S+) (\S+) (\S+) (\S+)"/;
	my ($path) = $chart =~ /data-series="\Q$series\E" d="(.*?)"/;

	return map { $from + ($_ - $low) / ($high - $low) * ($to - $from) } $path =~ /(?:[ML]\S+? |V)([\d.]+)/g;
}

1;
