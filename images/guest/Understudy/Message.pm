# What an identity message may hold. Everything is checked here before any of it reaches the kernel or a file.
package Understudy::Message;
use strict;
use warnings;

my $LABEL = qr/[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?/;
my $NAME = qr/$LABEL(?:\.$LABEL)*/;
my $OCTET = qr/(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])/;
my $ADDRESS = qr/$OCTET(?:\.$OCTET){3}/;
my $KEY_TYPE = qr/ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)\@openssh\.com/;
my $KEY_LINE = qr/[A-Za-z0-9+\/]{16,8192}={0,2}(?: [\x20-\x7e]{0,256})?/;
my %FORMS = (
    hostname => qr/$LABEL/,
    domain => qr/(?:$NAME)?/,
    host_key_private => qr/-----BEGIN OPENSSH PRIVATE KEY-----\n[A-Za-z0-9+\/=\n]{64,16384}-----END OPENSSH PRIVATE KEY-----\n?/,
    host_key_public => qr/ssh-ed25519 $KEY_LINE\n?/,
    machine_id => qr/(?!0{32})[0-9a-f]{32}/,
    boot_id => qr/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/,
    seed => qr/[A-Za-z0-9+\/]{86,684}={0,2}/,
    now => qr/[0-9]{10}(?:\.[0-9]+)?/,
);
my %OPTIONAL = (boot_id => 1, domain => 1);
my %KNOWN = map { $_ => 1 } keys %FORMS, qw(version id template hosts authorized_keys cards);

sub matches { my ($value, $form) = @_; return defined $value && !ref $value && $value =~ /\A$form\z/ }

# All faults of an identity message, each "key: what is wrong"; never its values, which may be secret.
sub identity_faults {
    my ($message) = @_;
    my @faults = map { "$_: unknown key" } grep { !$KNOWN{$_} } sort keys %$message;
    for my $key (sort keys %FORMS) {
        next if $OPTIONAL{$key} && !exists $message->{$key};
        push @faults, exists $message->{$key} ? "$key: not of its form" : "$key: missing"
            unless matches($message->{$key}, $FORMS{$key});
    }
    push @faults, 'template: neither true nor false' if exists $message->{template} && ref $message->{template} ne 'SCALAR';
    return (@faults, hosts_faults($message->{hosts}), keys_faults($message->{authorized_keys}), cards_faults($message->{cards}));
}

sub hosts_faults {
    my ($hosts) = @_;
    return 'hosts: not a list' if ref $hosts ne 'ARRAY';
    my @faults;
    for my $index (0 .. $#$hosts) {
        my $host = $hosts->[$index];
        my $names = ref $host eq 'HASH' ? $host->{names} : undef;
        my $good = ref $names eq 'ARRAY' && @$names && keys %$host == 2 && matches($host->{address}, $ADDRESS)
            && !grep { !matches($_, $NAME) || length > 253 } @$names;
        push @faults, "hosts[$index]: not an address with names" unless $good;
    }
    return @faults;
}

sub keys_faults {
    my ($keys) = @_;
    return 'authorized_keys: not a list with a key' if ref $keys ne 'ARRAY' || !@$keys;
    return map { "authorized_keys[$_]: not a public key's line" } grep { !matches($keys->[$_], qr/(?:$KEY_TYPE) $KEY_LINE/) } 0 .. $#$keys;
}

sub cards_faults {
    my ($cards) = @_;
    return 'cards: not an object with "control"' if ref $cards ne 'HASH' || !exists $cards->{control};
    my @faults = map { "cards.$_: unknown key" } grep { !/\A(?:control|mirror)\z/ } sort keys %$cards;
    for my $name (grep { exists $cards->{$_} } qw(control mirror)) {
        my $card = $cards->{$name};
        if (ref $card ne 'HASH') { push @faults, "cards.$name: not an object"; next }
        push @faults, map { "cards.$name.$_: unknown key" } grep { !/\A(?:mac|address|prefix)\z/ } sort keys %$card;
        push @faults, "cards.$name.mac: not an address of one card" unless matches($card->{mac}, qr/[0-9a-f][02468ace](?::[0-9a-f]{2}){5}/);
        push @faults, "cards.$name.address: not an IPv4 address" unless matches($card->{address}, $ADDRESS);
        push @faults, "cards.$name.prefix: not 8 to 30" unless matches($card->{prefix}, qr/[89]|[12][0-9]|30/);
    }
    return @faults;
}

1;
