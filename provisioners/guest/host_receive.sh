# Takes what one other host sends, and forgets it: so the way between them is measured. Arguments: SECONDS that the port is
# open, BYTES after each of which it says so. On standard input comes a word of 32 letters, with which the other begins.
set -u
exec perl -e '
use strict;
use IO::Socket::INET; # in perl-base
my ($seconds, $piece) = @ARGV;
$| = 1;
$SIG{ALRM} = sub { exit };
alarm $seconds;
my $word = <STDIN>;
my $server = IO::Socket::INET->new(Listen => 1, LocalAddr => "0.0.0.0") or die "no port: $!\n";
print "port ", $server->sockport, "\n";
while (my $other = $server->accept) {
    my ($said, $buffer, $got) = ("", "", 0);
    while (length $said < length $word and sysread $other, $buffer, 1) { $said .= $buffer }
    next unless $said eq $word;
    while (my $read = sysread $other, $buffer, 1 << 18) {
        $got += $read;
        while ($got >= $piece) { $got -= $piece; syswrite $other, "taken\n" }
    }
    exit;
}' "$@"
