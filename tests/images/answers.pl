#!/usr/bin/perl
# The guest's side of the identity channel, in a scratch directory and without touching this computer's kernel: answers
# each line of the standard input. Arguments: the scratch directory, and cold or warm.
use strict;
use warnings;
use Understudy::Channel;
use Understudy::Identity;

my ($root, $started) = @ARGV;
$Understudy::Identity::ROOT = $root;
$Understudy::Identity::KERNEL = 0;
$| = 1;
my %apply = (cold => \&Understudy::Identity::apply, warm => \&Understudy::Identity::apply_woken);
while (my $line = <STDIN>) {
    chomp $line;
    print Understudy::Channel::answer($line, $apply{$started}, $started), "\n";
    Understudy::Identity::do_due(1);
}
