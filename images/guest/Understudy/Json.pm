# JSON as far as the host's messages need it: strict, small, and quick to load (perl-base has no JSON module).
package Understudy::Json;
use strict;
use warnings;

my %ESCAPES = ('"' => '"', '\\' => '\\', '/' => '/', b => "\b", f => "\f", n => "\n", r => "\r", t => "\t");

# The value that a text holds: hashes, arrays, strings, numbers; true and false are \\1 and \\0. Dies on anything else.
sub json_decode {
    my ($text) = @_;
    pos($text) = 0;
    my $value = json_value(\$text, 0);
    $text =~ /\G\s*\z/gc or die "message: something follows the JSON value\n";
    return $value;
}

sub json_value {
    my ($text, $depth) = @_;
    die "message: nested too deeply\n" if $depth > 8;
    $$text =~ /\G\s+/gc;
    return json_object($text, $depth) if $$text =~ /\G\{/gc;
    return json_array($text, $depth) if $$text =~ /\G\[/gc;
    return json_string($text) if $$text =~ /\G"/gc;
    return $1 if $$text =~ /\G(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)/gc;
    return \1 if $$text =~ /\Gtrue/gc;
    return \0 if $$text =~ /\Gfalse/gc;
    return undef if $$text =~ /\Gnull/gc;
    die "message: not JSON at byte " . (pos($$text) // 0) . "\n";
}

sub json_object {
    my ($text, $depth) = @_;
    my %object;
    return \%object if $$text =~ /\G\s*\}/gc;
    while (1) {
        $$text =~ /\G\s*"/gc or die "message: a key was expected\n";
        my $key = json_string($text);
        die "message: a key stands there twice\n" if exists $object{$key};
        $$text =~ /\G\s*:/gc or die "message: a colon was expected\n";
        $object{$key} = json_value($text, $depth + 1);
        return \%object if $$text =~ /\G\s*\}/gc;
        $$text =~ /\G\s*,/gc or die "message: a comma was expected\n";
    }
}

sub json_array {
    my ($text, $depth) = @_;
    my @array;
    return \@array if $$text =~ /\G\s*\]/gc;
    while (1) {
        push @array, json_value($text, $depth + 1);
        return \@array if $$text =~ /\G\s*\]/gc;
        $$text =~ /\G\s*,/gc or die "message: a comma was expected\n";
    }
}

sub json_string {
    my ($text) = @_;
    my $string = '';
    while (1) {
        $string .= $1 if $$text =~ /\G([^"\\\x00-\x1f]+)/gc;
        return $string if $$text =~ /\G"/gc;
        if ($$text =~ /\G\\(["\\\/bfnrt])/gc) { $string .= $ESCAPES{$1} }
        elsif ($$text =~ /\G\\u00([0-7][0-9a-fA-F])/gc) { $string .= chr hex $1 }    # ASCII: no field needs more
        else { die "message: a string has what it may not have\n" }
    }
}

sub json_encode {
    my ($value) = @_;
    my $kind = ref $value;
    return '{' . join(',', map { json_text($_) . ':' . json_encode($value->{$_}) } sort keys %$value) . '}' if $kind eq 'HASH';
    return '[' . join(',', map { json_encode($_) } @$value) . ']' if $kind eq 'ARRAY';
    return $$value ? 'true' : 'false' if $kind eq 'SCALAR';
    return 'null' if !defined $value;
    return $value =~ /\A(?:0|[1-9][0-9]{0,14})\z/ ? $value : json_text($value);
}

sub json_text {
    my ($text) = @_;
    $text =~ s/([\x00-\x1f"\\\x7f-\xff])/sprintf '\\u%04x', ord $1/ge;
    return qq("$text");
}

1;
