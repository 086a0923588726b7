# The port to the host: one request a line, one answer a line; and the power button, which is watched beside it.
package Understudy::Channel;
use strict;
use warnings;
use Understudy::Identity;
use Understudy::Json;
use Understudy::Kernel;
use Understudy::Message;

my $MAX_LINE = 262144;
my $PORT_NAME = 'understudy.identity.0';
my $IS_TEMPLATE = 0;

# The answer to one line. `$apply` is called with a good identity message; the answer calls what it did `$started`.
sub answer {
    my ($line, $apply, $started) = @_;
    my $message = eval { Understudy::Json::json_decode($line) };
    my %reply = (ok => \0);
    if (ref $message ne 'HASH') { $reply{error} = $@ || 'message: not an object' }
    else {
        $reply{id} = $message->{id} if Understudy::Message::matches($message->{id}, qr/[A-Za-z0-9-]{1,64}/);
        my $answer = eval { answer_message($message, $apply, $started) } // { error => $@ };
        %reply = (%reply, %$answer);
    }
    chomp $reply{error} if defined $reply{error};
    return Understudy::Json::json_encode(\%reply);
}

sub answer_message {
    my ($message, $apply, $started) = @_;
    die "version: not 1\n" unless Understudy::Message::matches($message->{version}, qr/1/);
    return answer_ping() if asks_only($message, 'ping');
    return answer_prepare() if asks_only($message, 'prepare');
    my @faults = Understudy::Message::identity_faults($message);
    die join('; ', @faults) . "\n" if @faults;
    $apply->($message);
    $IS_TEMPLATE = Understudy::Identity::is_template($message);
    return { ok => \1, started => $started, boot_id => kernel_text('random/boot_id') };
}

# Whether a message is this request: the key is true, and nothing else is asked.
sub asks_only {
    my ($message, $request) = @_;
    return 0 unless exists $message->{$request};
    my @others = grep { !/\A(?:version|id|\Q$request\E)\z/ } keys %$message;
    return 1 if ref $message->{$request} eq 'SCALAR' && ${ $message->{$request} } && !@others;
    die "$request: true, and nothing beside it but version and id\n";
}

sub kernel_text {
    my ($name) = @_;
    my $text = Understudy::Identity::read_file("/proc/sys/kernel/$name") // '';
    chomp $text;
    return $text;
}

sub answer_ping {
    open my $systemd, '-|', '/usr/bin/systemctl', 'is-system-running' or die "ping: $!\n";
    my $state = <$systemd> // '';
    my $ready = $state =~ /\A(?:running|degraded)$/ ? \1 : \0;
    my $template = $IS_TEMPLATE ? \1 : \0;
    return { ok => \1, ready => $ready, template => $template, hostname => kernel_text('hostname'), boot_id => kernel_text('random/boot_id'), now => Understudy::Kernel::clock() };
}

# Before a template's memory is saved: what can be read again from the disk need not be in it, but for what each clone is
# waited for to do: to let somebody in, and to run a command. So somebody was in, and sshd stands where it reads its key.
sub answer_prepare {
    die "prepare: this machine is no template\n" unless $IS_TEMPLATE;
    return finish_prepare() if -p $Understudy::Identity::HOST_KEY;    # it was done, and the answer lost
    Understudy::Kernel::sync_disk();
    Understudy::Kernel::write_setting('/proc/sys/vm/drop_caches', 3);
    Understudy::Kernel::write_setting('/proc/sys/vm/compact_memory', 1);
    Understudy::Identity::set_boot_id(kernel_text('random/uuid'));    # mounted now, a clone only writes its own
    die "prepare: nobody can log in\n" if log_in();
    Understudy::Identity::forget_files();
    start_waiting_sshd();
    return finish_prepare();
}

sub finish_prepare {
    Understudy::Identity::stop_journald();
    Understudy::Kernel::sync_disk();
    my ($free) = (Understudy::Identity::read_file('/proc/meminfo') // '') =~ /^MemFree:\s+([0-9]+)/m;
    return { ok => \1, free_kib => $free // 0 };
}

# Log in, with the host key for a key: it is as new as the template, and no clone keeps it.
sub log_in {
    my $key = $Understudy::Identity::HOST_KEY;
    mkdir '/run/sshd', 0755;    # as its unit has it
    my %options = (
        BatchMode => 'yes', StrictHostKeyChecking => 'no', UserKnownHostsFile => '/dev/null', IdentityFile => $key,
        LogLevel => 'ERROR', ConnectTimeout => 60,
        ProxyCommand => "/usr/sbin/sshd -i -o AuthorizedKeysFile=$key.pub",
    );
    return run_program('/usr/bin/ssh', (map { ('-o', "$_=$options{$_}") } sort keys %options), 'root@template', 'timeout 60 true');
}

# Start sshd, and have it wait for the key of the machine that it will be: by then its settings are read, its libraries are
# ready, and each connection is a copy of it (-r). One that is started later is as ever: each connection starts anew.
sub start_waiting_sshd {
    my $otherwise = '/run/systemd/system/ssh.service.d';
    Understudy::Kernel::make_pipe($Understudy::Identity::HOST_KEY) or die "prepare: $!\n";
    mkdir $otherwise, 0755;
    Understudy::Identity::write_file("$otherwise/waiting.conf", 0644, "[Service]\nType=simple\nExecStart=\nExecStart=/usr/sbin/sshd -D -r\n");
    run_program('/usr/bin/systemctl', @$_) for ['daemon-reload'], ['start', 'ssh.service'];
    unlink "$otherwise/waiting.conf";
    rmdir $otherwise;
    run_program('/usr/bin/systemctl', 'daemon-reload');
    for (1 .. 600) {
        my ($sshd) = Understudy::Kernel::processes('system.slice/ssh.service');
        return if defined $sshd && (Understudy::Identity::read_file("/proc/$sshd/wchan") // '') =~ /fifo|partner/;
        select undef, undef, undef, 0.1;
    }
    die "prepare: sshd does not wait for its key\n";
}

# Run a program to its end, with nothing to read, and return how it ended; 0 is well.
sub run_program {
    my (@command) = @_;
    local $SIG{CHLD} = 'DEFAULT';
    my $pid = fork // return -1;
    if ($pid) { waitpid $pid, 0; return $? }
    open STDIN, '<', '/dev/null';
    exec { $command[0] } @command or Understudy::Kernel::call(231, 1);    # exit_group
}

# --- The port ---------------------------------------------------------------------------------------------------------

sub open_port {
    my ($wait_seconds) = @_;
    for my $try (0 .. $wait_seconds * 100) {
        my $name = Understudy::Kernel::find_device('virtio-ports', 'name', $PORT_NAME);
        if ($name && open my $port, '+<', "/dev/$name") {
            own_port($port);
            return $port;
        }
        select undef, undef, undef, 0.01;
    }
    return;
}

# The driver sends SIGIO when the host connects, which ends a sleep.
sub own_port {
    my ($port) = @_;
    $SIG{IO} = sub { };
    # F_SETOWN, to whom: `$$` alone would be handed over as text. F_SETFL: O_ASYNC, O_NONBLOCK.
    my $told = fcntl($port, 8, 0 + $$) && fcntl($port, 4, 020000 | 04000);
    Understudy::Kernel::log_line("the port sends no signal: $!") unless $told;
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

# --- The power button -------------------------------------------------------------------------------------------------

sub open_button {
    my $name = Understudy::Kernel::find_device('input', 'device/name', 'Power Button') or return;
    open my $button, '<', "/dev/input/$name" or return;
    fcntl $button, 4, 04000;    # O_NONBLOCK
    return $button;
}

# The kernel's record of one key: two times of eight bytes, then type, code, value. 1, 116, 1: the power key goes down.
sub power_pressed {
    my ($button) = @_;
    return 0 unless $button;
    my $count = sysread $button, my $record, 24;
    return 0 unless defined $count && $count == 24;
    my (undef, undef, $type, $code, $value) = unpack 'q q S S i', $record;
    return $type == 1 && $code == 116 && $value == 1;
}

# --- The two loops ----------------------------------------------------------------------------------------------------

# Before systemd: wait for the identity. Whoever switches the machine off meanwhile need not wait.
sub first_identity {
    my ($port, $button) = @_;
    my $done = 0;
    until ($done) {
        my $line = read_line($port, 1, $button);
        Understudy::Kernel::power_off() if power_pressed($button);
        next unless defined $line;
        my $reply = answer($line, sub { Understudy::Identity::apply(@_); $done = 1 }, 'cold');
        send_line($port, $reply);
    }
}

# Beside systemd: answer the host for as long as the machine runs.
sub listen_forever {
    my ($port, $button) = @_;
    $0 = 'understudy-identity';
    $SIG{CHLD} = 'IGNORE';
    my $ends = 0;
    $SIG{TERM} = sub { $ends = 1 };    # at a shutdown
    own_port($port) if $port;    # the signal is this process's from now on
    while (1) {
        my $line = read_line($port, 1, $button);
        Understudy::Identity::do_due($ends);
        return if $ends;
        Understudy::Identity::start_program('/usr/bin/systemctl', '--no-block', 'poweroff') if power_pressed($button);
        my $apply = $IS_TEMPLATE ? \&Understudy::Identity::apply_woken : \&Understudy::Identity::apply;
        send_line($port, answer($line, $apply, 'warm')) if defined $line;
    }
}

1;
