#!/usr/bin/perl
# The machine's identity: read from the host through a virtio-serial port, kept, and put to work.
#
# Runs as the first process, before systemd, so that everything later starts with the right name, machine id and keys.
# It then leaves a listener behind (the same program, forked: a second start of perl is dear under emulation) and becomes
# systemd. The listener answers the host's requests and watches the power button. It needs perl-base alone, and starts
# no other program until systemd runs; values from outside are checked here and go to the kernel or to files, never to a
# shell. The messages are described in images/README.md.
use strict;
use warnings;

our $ROOT = '';            # prefix of all files; tests give a scratch directory
our $KERNEL = 1;           # whether to change the running kernel (not in tests)
my $MAX_LINE = 262144;
my $KEPT = '/etc/understudy/identity.json';
my $PORT_NAME = 'understudy.identity.0';

# --- JSON, as far as the messages need it -----------------------------------------------------------------------------

my %ESCAPES = ('"' => '"', '\\' => '\\', '/' => '/', b => "\b", f => "\f", n => "\n", r => "\r", t => "\t");

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

# --- What a message may hold ------------------------------------------------------------------------------------------

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

# --- Files ------------------------------------------------------------------------------------------------------------

sub write_file {
    my ($path, $mode, $content) = @_;
    my $new = "$ROOT$path.understudy-new";
    unlink $new;
    my $before = umask 0777 & ~$mode;
    sysopen my $file, $new, 0301 or die "$path: cannot be written: $!\n";    # 0301: O_WRONLY | O_CREAT | O_EXCL
    umask $before;
    my $written = syswrite $file, $content;
    die "$path: cannot be written: $!\n" unless defined $written && $written == length $content && close $file;
    rename $new, "$ROOT$path" or die "$path: cannot be put in place: $!\n";
}

sub read_file {
    my ($path) = @_;
    open my $file, '<', "$ROOT$path" or return;
    local $/ = undef;
    return scalar <$file>;
}

sub hosts_text {
    my ($message) = @_;
    my $own = $message->{hostname};
    my $text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n";
    $text .= "127.0.1.1 $own\n" unless grep { $_ eq $own } map { @{ $_->{names} } } @{ $message->{hosts} };
    return $text . join '', map { join(' ', $_->{address}, @{ $_->{names} }) . "\n" } @{ $message->{hosts} };
}

sub write_files {
    my ($message) = @_;
    my ($private, $public) = @{$message}{qw(host_key_private host_key_public)};
    s/\n?\z/\n/ for $private, $public;
    write_file('/etc/hostname', 0644, "$message->{hostname}\n");
    write_file('/etc/hosts', 0644, hosts_text($message));
    write_file('/etc/machine-id', 0444, "$message->{machine_id}\n");
    write_file('/etc/ssh/ssh_host_ed25519_key', 0600, $private);
    write_file('/etc/ssh/ssh_host_ed25519_key.pub', 0644, $public);
    mkdir "$ROOT/root/.ssh", 0700;
    write_file('/root/.ssh/authorized_keys', 0600, join '', map { "$_\n" } @{ $message->{authorized_keys} });
}

# What the next boot needs. It is written last: where it stands, everything before it is on the disk.
sub keep {
    my ($message) = @_;
    mkdir "$ROOT/etc/understudy", 0700;
    if (${ $message->{template} // \0 }) { unlink "$ROOT$KEPT"; return }
    syscall 162 if $KERNEL;    # sync
    write_file($KEPT, 0600, json_encode({ map { $_ => $message->{$_} } qw(hostname cards) }) . "\n");
    syscall 162 if $KERNEL;
}

# --- The running kernel. Numbers are x86-64's (asm/unistd_64.h, linux/random.h, linux/sockios.h) -------------------------

sub decode_base64 {
    my ($text) = @_;
    $text =~ tr{A-Za-z0-9+/}{}cd;
    $text =~ tr{A-Za-z0-9+/}{ -_};
    my $bytes = '';
    $bytes .= unpack 'u', chr(32 + int(length($1) * 3 / 4)) . $1 while $text =~ /(.{1,60})/gs;
    return $bytes;
}

sub reseed {
    my ($seed) = @_;
    open my $random, '+<', '/dev/urandom' or die "random state: $!\n";
    my $entropy = pack 'i i a*', 8 * length $seed, length $seed, $seed;
    ioctl $random, 0x40085203, $entropy or die "random state: entropy is refused: $!\n";    # RNDADDENTROPY
    ioctl $random, 0x5207, 0 or die "random state: reseeding is refused: $!\n";             # RNDRESEEDCRNG
}

sub set_clock {
    my ($now) = @_;
    my $seconds = int $now;
    my $time = pack 'q q', $seconds, int(($now - $seconds) * 1e9);
    syscall(227, 0, $time) == 0 or die "clock: $!\n";    # clock_settime(CLOCK_REALTIME)
}

sub set_hostname {
    my ($name) = @_;
    syscall(170, $name, length $name) == 0 or die "hostname: $!\n";    # sethostname
}

sub interface_ioctl {
    my ($socket, $request, $card, $rest, $what) = @_;
    my $argument = pack 'a16 a24', $card, $rest;
    ioctl $socket, $request, $argument or die "$card: $what: $!\n";
}

sub inet_address { my ($address) = @_; return pack 'S n C4 x8', 2, 0, split /\./, $address }    # struct sockaddr_in

# Give a card its MAC and address. Down first: a virtio card takes a new MAC only then, and its old addresses go.
sub set_card {
    my ($socket, $device, $card, $raise) = @_;
    my $mask = (0xffffffff << (32 - $card->{prefix})) & 0xffffffff;
    interface_ioctl($socket, 0x8914, $device, pack('s', 0), 'down');                                           # SIOCSIFFLAGS
    interface_ioctl($socket, 0x8924, $device, pack('S H12', 1, $card->{mac} =~ tr/://dr), 'MAC');               # SIOCSIFHWADDR
    interface_ioctl($socket, 0x8916, $device, inet_address($card->{address}), 'address');                       # SIOCSIFADDR
    interface_ioctl($socket, 0x891c, $device, inet_address(join '.', unpack 'C4', pack 'N', $mask), 'netmask'); # SIOCSIFNETMASK
    interface_ioctl($socket, 0x8914, $device, pack('s', $raise ? 0x1043 : 0), 'up');    # IFF_UP, BROADCAST, RUNNING, MULTICAST
}

sub set_cards {
    my ($cards, $raise) = @_;
    socket my $socket, 2, 2, 0 or die "network: $!\n";
    set_card($socket, 'eth0', $cards->{control}, $raise);
    set_card($socket, 'eth1', $cards->{mirror}, $raise) if $cards->{mirror};
}

# --- Applying ---------------------------------------------------------------------------------------------------------

# First boot, before systemd. The clock came from the machine's RTC, which is nearer than a message that waited.
sub apply_cold {
    my ($message) = @_;
    my $raise = !${ $message->{template} // \0 };
    if ($KERNEL) {
        reseed(decode_base64($message->{seed}));
        set_clock($message->{now}) if abs(time - $message->{now}) > 120;
        set_hostname($message->{hostname});
    }
    write_files($message);
    set_cards($message->{cards}, $raise) if $KERNEL;
    keep($message);
}

# A running machine, usually the just woken clone of a template. The random state is first: nothing may be drawn from the
# template's. The network is last.
sub apply_warm {
    my ($message) = @_;
    if ($KERNEL) {
        reseed(decode_base64($message->{seed}));
        set_clock($message->{now});
        set_hostname($message->{hostname});
        set_boot_id($message->{boot_id}) if $message->{boot_id};
    }
    write_files($message);
    keep($message);
    return unless $KERNEL;
    attach_data_disk_again();
    my $raise = !${ $message->{template} // \0 };
    restart_sshd();
    set_cards($message->{cards}, $raise);
    start_program('/usr/lib/understudy/after-wake');
}

sub set_boot_id {
    my ($boot_id) = @_;
    my $file = '/run/understudy-boot-id';
    syscall(166, '/proc/sys/kernel/random/boot_id', 2);    # umount2(MNT_DETACH) of an earlier one, if any
    write_file($file, 0444, "$boot_id\n");
    my ($target, $none) = ('/proc/sys/kernel/random/boot_id', 'none');
    syscall(165, $file, $target, $none, 4096, 0) == 0 or die "boot id: $!\n";    # mount(MS_BIND)
}

# A clone's data disk may be larger than the template's, and the driver reads the size when it binds.
sub attach_data_disk_again {
    my $device = readlink '/sys/block/vdb/device' or return;
    my ($name) = $device =~ /(virtio[0-9]+)\z/ or return;
    return if (read_file('/proc/mounts') // '') =~ m{^/dev/vdb }m;
    for my $action (qw(unbind bind)) {
        open my $file, '>', "/sys/bus/virtio/drivers/virtio_blk/$action" or return;
        syswrite $file, $name;
    }
}

# sshd reads its new host key when it starts itself anew; its listening socket is closed by then.
sub restart_sshd {
    my $pid = read_file('/run/sshd.pid') // '';
    kill 'HUP', $1 if $pid =~ /\A([0-9]+)$/;
}

sub start_program {
    my @command = @_;
    my $pid = fork // return;
    return if $pid;
    exec { $command[0] } @command or syscall 231, 1;    # exit_group
}

# --- Requests ---------------------------------------------------------------------------------------------------------

my $IS_TEMPLATE = 0;

sub boot_id { my $id = read_file('/proc/sys/kernel/random/boot_id') // ''; chomp $id; return $id }

sub answer {
    my ($line, $apply, $started) = @_;
    my $message = eval { json_decode($line) };
    my %reply = (ok => \0);
    if (ref $message ne 'HASH') { $reply{error} = $@ || 'message: not an object' }
    else {
        $reply{id} = $message->{id} if matches($message->{id}, qr/[A-Za-z0-9-]{1,64}/);
        my $answer = eval { answer_message($message, $apply, $started) } // { error => $@ };
        %reply = (%reply, %$answer);
    }
    chomp $reply{error} if defined $reply{error};
    return json_encode(\%reply);
}

sub answer_message {
    my ($message, $apply, $started) = @_;
    die "version: not 1\n" unless matches($message->{version}, qr/1/);
    return answer_ping() if $message->{ping};
    return answer_prepare() if $message->{prepare};
    my @faults = identity_faults($message);
    die join('; ', @faults) . "\n" if @faults;
    $apply->($message);
    $IS_TEMPLATE = ${ $message->{template} // \0 };
    return { ok => \1, started => $started, boot_id => boot_id() };
}

sub answer_ping {
    my $name = read_file('/proc/sys/kernel/hostname') // '';
    chomp $name;
    my $ready = -e "$ROOT/run/understudy-ready" ? \1 : \0;
    return { ok => \1, ready => $ready, hostname => $name, template => $IS_TEMPLATE ? \1 : \0, boot_id => boot_id() };
}

# Before a template's memory is saved: what can be read again from the disk need not be in it.
sub answer_prepare {
    die "prepare: this machine is no template\n" unless $IS_TEMPLATE;
    syscall 162;    # sync
    for (['/proc/sys/vm/drop_caches', 3], ['/proc/sys/vm/compact_memory', 1]) {
        open my $file, '>', $_->[0] or next;
        syswrite $file, $_->[1];
    }
    my ($free) = (read_file('/proc/meminfo') // '') =~ /^MemFree:\s+([0-9]+)/m;
    return { ok => \1, free_kib => $free // 0 };
}

# --- The port and the power button ------------------------------------------------------------------------------------

sub kernel_log {
    my ($text) = @_;
    open my $log, '>', '/dev/kmsg' or return;
    syswrite $log, "<4>understudy: $text\n";
}

sub find_device {
    my ($class, $name, $file) = @_;
    opendir my $directory, "/sys/class/$class" or return;
    for my $entry (sort grep { !/\A\./ } readdir $directory) {
        my $found = read_file("/sys/class/$class/$entry/$file") // next;
        chomp $found;
        return $entry if $found eq $name;
    }
    return;
}

sub open_port {
    my ($wait_seconds) = @_;
    for my $try (0 .. $wait_seconds * 50) {
        my $name = find_device('virtio-ports', $PORT_NAME, 'name');
        if ($name && open my $port, '+<', "/dev/$name") {
            $SIG{IO} = sub { };                           # the driver signals when the host connects: that ends a sleep
            fcntl $port, 8, $$;                           # F_SETOWN
            fcntl $port, 4, 020000 | 04000;               # F_SETFL: O_ASYNC, O_NONBLOCK
            return $port;
        }
        select undef, undef, undef, 0.02;
    }
    return;
}

sub send_line {
    my ($port, $line) = @_;
    $line .= "\n";
    for (1 .. 200) {
        my $sent = syswrite $port, $line;
        substr $line, 0, $sent, '' if $sent;
        return if $line eq '';
        select undef, undef, undef, 0.05;
    }
}

# One request, or undef when there is none within the time or the power button was touched. What was read of a line whose
# writer went away is dropped. A port without a host reads as at its end; it must not be waited on, it would not wait.
my $BUFFER = '';

sub read_line {
    my ($port, $seconds, $button) = @_;
    my $count = $port ? sysread $port, my $part, 65536 : 0;
    if ($count) {
        $BUFFER .= $part;
        $BUFFER = '' if length $BUFFER > $MAX_LINE;
        return $1 if $BUFFER =~ s/\A([^\n]*)\n//;
        return;
    }
    my $mask = '';
    vec($mask, fileno $button, 1) = 1 if $button;
    if (defined $count) { $BUFFER = '' }
    else { vec($mask, fileno $port, 1) = 1 }
    select $mask, undef, undef, $seconds;
    return;
}

sub first_identity {
    my ($port) = @_;
    while (1) {
        my $line = read_line($port, 1) // next;
        my $done = 0;
        my $reply = answer($line, sub { apply_cold(@_); $done = 1 }, 'cold');
        send_line($port, $reply);
        return if $done;
    }
}

sub apply_kept {
    my $kept = json_decode(read_file($KEPT));
    set_hostname($kept->{hostname});
    set_cards($kept->{cards}, 1);
}

# The kernel's record of one key: two times of eight bytes, then type, code, value. 1, 116, 1: the power key is down.
sub power_pressed {
    my ($button) = @_;
    my $count = sysread $button, my $record, 24;
    return unless defined $count && $count == 24;
    my (undef, undef, $type, $code, $value) = unpack 'q q S S i', $record;
    return $type == 1 && $code == 116 && $value == 1;
}

sub open_button {
    my $name = find_device('input', 'Power Button', 'device/name') or return;
    open my $button, '<', "/dev/input/$name" or return;
    fcntl $button, 4, 04000;    # O_NONBLOCK
    return $button;
}

sub listen_forever {
    my ($port) = @_;
    $0 = 'understudy-identity';
    $SIG{CHLD} = 'IGNORE';
    my $button = open_button();
    while (1) {
        my $line = read_line($port, 1, $button);
        start_program('/usr/bin/systemctl', '--no-block', 'poweroff') if $button && power_pressed($button);
        send_line($port, answer($line, \&apply_warm, 'warm')) if defined $line;
    }
}

sub main {
    my @arguments = @_;
    $^F = 2;
    chdir '/';
    my $port = open_port(5);
    if (-e $KEPT) { eval { apply_kept(); 1 } or kernel_log("identity.json: $@") }
    elsif ($port) { first_identity($port) }
    else { kernel_log("no port $PORT_NAME: the machine stays without a name and keys") }
    if (!fork) { listen_forever($port) }
    exec { '/lib/systemd/systemd' } '/sbin/init', @arguments;
    die "systemd cannot be started: $!\n";
}

main(@ARGV) unless caller;
1;
