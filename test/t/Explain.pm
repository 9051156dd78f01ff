# What pool_exhaust_explain() and the page /explain say of a server, while something
# is wrong there and while nothing is.
package Explain;

use strict;
use warnings FATAL => 'all';

use JSON::PP ();
use PoolExhaust;
use Test::More;
use Time::HiRes qw(time);

# Parameters: watcher => a session that may see all, port => that of the monitor's pages.
sub new
{
	my ($class, %params) = @_;

	return bless {%params}, $class;
}

# The rows, as hashes; in that session instead of the watcher's.
sub rows
{
	my ($self, $session) = @_;
	my $rows = ($session // $self->{watcher})->query('SELECT jsonb_agg(e) FROM pool_exhaust_explain() AS e');

	return JSON::PP::decode_json($rows);
}

sub first { return $_[0]->rows->[0] }

# The incident is named first, in SQL and over HTTP, and its next step runs; the first row.
# Parameters: cause, sentence, confidence, evidence, busy => called until it is so.
sub incident
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($self, $name, %incident) = @_;
	my ($first, $last);
	my $wrong = '';
	my $busy = $incident{busy} // sub { };

	# The first of several sessions may be found before the others.
	ok(wait_until(sub {
		$busy->();
		$first = $self->first;
		$last = "$first->{cause}: $first->{sentence}";
		$wrong = $last if $first->{confidence} eq 'sure' && $first->{cause} ne $incident{cause};
		$first->{cause} eq $incident{cause} && $first->{sentence} =~ $incident{sentence} ? 'it is' : $last;
	}, 'it is', "$name: first"), "$name: $incident{cause} comes first") or diag Test::More::explain($self->rows);
	is($wrong, '', "$name: no other cause was sure meanwhile");
	like($first->{evidence}, $incident{evidence}, "$name: evidence") if $incident{evidence};
	is($first->{confidence}, $incident{confidence}, "$name: confidence");

	# What the monitor knows of limits is as old as its last observation.
	ok(wait_until(sub { $busy->(); http_json($self->{port}, '/explain?format=json')->[0]{cause} }, $incident{cause}, 'JSON'), "$name: /explain as JSON");
	my $text = http($self->{port}, '/explain')->{content};
	cmp_ok(length $text, '<=', 2048, "$name: /explain is small");
	is(join("\n", grep { length > 80 && !/^   next: / } split /\n/, $text), '', "$name: /explain fits 80 columns");

	$self->{watcher}->query($_) // fail("$name: $_: " . $self->{watcher}->message) foreach grep { /\S/ } split /(?<=;) /, $first->{next_step};
	return $first;
}

# These sessions end, and then there is no complaint any more.
sub over
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($self, $name, @sessions) = @_;

	$_->close foreach @sessions;
	ok(wait_until(sub { $self->first->{cause} }, 'healthy', "$name: it is over"), "$name: afterwards all is well") or diag Test::More::explain($self->rows);
	return;
}

# There is no complaint, in so many looks and for so many seconds.
sub healthy
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($self, $name, $looks, $seconds) = @_;
	my $end = time + ($seconds // 0);
	my $n = 0;
	my %complaints;

	while ($n < $looks || time < $end)
	{
		my $first = $self->first;

		$complaints{"$first->{cause}: $first->{sentence}"}++ if $first->{cause} ne 'healthy';
		$n++;
	}
	is_deeply(\%complaints, {}, "$name: no complaint, in $n looks");
	return;
}

1;
