# Putting an identity to work: at the first boot, at a later one, and in a clone that woke from a template's memory.
package Understudy::Identity;
use strict;
use warnings;
use Understudy::Json;
use Understudy::Kernel;

our $ROOT = '';      # prefix of all files; tests give a scratch directory
our $KERNEL = 1;     # whether the running kernel is changed too; not in tests
our $KEPT = '/etc/understudy/identity.json';
our $HOST_KEY = '/etc/ssh/ssh_host_ed25519_key';
my $LATER = 4;    # seconds until what nobody waits for is done
my @LATER;        # it, each with its time

sub write_file {
    my ($path, $mode, $content) = @_;
    put_in_place(write_aside($path, $mode, $content), $path);
}

sub write_aside {
    my ($path, $mode, $content) = @_;
    my $new = "$ROOT$path.understudy-new";
    unlink $new;
    my $before = umask(0777 & ~$mode);
    my $opened = sysopen my $file, $new, 0301, 0777;    # O_WRONLY, O_CREAT, O_EXCL: no moment with a wider mode
    umask $before;
    $opened or die "$path: cannot be written: $!\n";
    my $written = syswrite $file, $content;
    die "$path: cannot be written: $!\n" unless defined $written && $written == length $content && close $file;
    return $new;
}

sub put_in_place {
    my ($new, $path) = @_;
    rename $new, "$ROOT$path" or die "$path: cannot be put in place: $!\n";
}

sub read_file {
    my ($path) = @_;
    open my $file, '<', "$ROOT$path" or return;
    local $/ = undef;
    return scalar <$file>;
}

sub is_template { my ($message) = @_; return ${ $message->{template} // \0 } }

sub hosts_text {
    my ($message) = @_;
    my $own = $message->{hostname};
    my $known = grep { $_ eq $own } map { @{ $_->{names} } } @{ $message->{hosts} };
    my $text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n";
    $text .= "127.0.1.1 $own\n" unless $known;
    return $text . join '', map { join(' ', $_->{address}, @{ $_->{names} }) . "\n" } @{ $message->{hosts} };
}

sub write_files {
    my ($message) = @_;
    my ($private, $public) = @{$message}{qw(host_key_private host_key_public)};
    s/\n?\z/\n/ for $private, $public;
    write_file('/etc/hostname', 0644, "$message->{hostname}\n");
    write_file('/etc/hosts', 0644, hosts_text($message));
    write_file('/etc/machine-id', 0444, "$message->{machine_id}\n");
    write_file("$HOST_KEY.pub", 0644, $public);
    write_host_key($private);
    mkdir "$ROOT/root/.ssh", 0700;
    write_file('/root/.ssh/authorized_keys', 0600, join '', map { "$_\n" } @{ $message->{authorized_keys} });
}

# A clone's sshd waits to read its key. The pipe goes before the file comes: what takes the place of something is written to
# the disk at once.
sub write_host_key {
    my ($private) = @_;
    my $new = write_aside($HOST_KEY, 0600, $private);
    my $is_awaited = -p "$ROOT$HOST_KEY" && sysopen my $pipe, "$ROOT$HOST_KEY", 04001;    # O_WRONLY, O_NONBLOCK
    unlink "$ROOT$HOST_KEY" if $is_awaited;
    put_in_place($new, $HOST_KEY);
    local $SIG{PIPE} = 'IGNORE';
    syswrite $pipe, $private if $is_awaited;
}

# What the next boot needs. Written last: where it stands, everything before it is on the disk; where it does not, the machine
# waits to be told again. Of a template, nothing.
sub keep {
    my ($message) = @_;
    mkdir "$ROOT/etc/understudy", 0700;
    if (is_template($message)) { unlink "$ROOT$KEPT"; return }
    my %kept = map { $_ => $message->{$_} } qw(hostname cards);
    my $new = write_aside($KEPT, 0600, Understudy::Json::json_encode(\%kept) . "\n");
    Understudy::Kernel::sync_disk() if $KERNEL;
    put_in_place($new, $KEPT);
    Understudy::Kernel::sync_disk() if $KERNEL;
}

# A machine before systemd, or one that runs and is told what is new. Its clock came from the machine's RTC, which is nearer
# than a message that waited.
sub apply {
    my ($message) = @_;
    if ($KERNEL) {
        Understudy::Kernel::reseed(Understudy::Kernel::decode_base64($message->{seed}));
        Understudy::Kernel::set_clock($message->{now}) if abs(time - $message->{now}) > 120;
        Understudy::Kernel::set_hostname($message->{hostname});
        Understudy::Kernel::set_cards($message->{cards}, !is_template($message));
    }
    write_files($message);
    keep($message);
}

# The just woken clone of a template. The random state is first, so that nothing is drawn from the template's; the network is
# last. What nobody waits for is put off: whoever comes by SSH goes first, also beside other clones.
sub apply_woken {
    my ($message) = @_;
    if ($KERNEL) {
        my @journald = stop_journald();
        later(sub { kill KILL => @journald });
        Understudy::Kernel::reseed(Understudy::Kernel::decode_base64($message->{seed}));
        Understudy::Kernel::set_clock($message->{now});
        Understudy::Kernel::set_hostname($message->{hostname});
        set_boot_id($message->{boot_id}) if defined $message->{boot_id};
        Understudy::Kernel::attach_disk_again('vdb') if -e '/sys/block/vdb' && !is_mounted('/dev/vdb');
    }
    write_files($message);
    forget_journals($message->{machine_id});
    Understudy::Kernel::set_cards($message->{cards}, !is_template($message)) if $KERNEL;
    later(sub { keep($message) });
    later(sub { start_program('/usr/bin/systemctl', '--no-block', 'try-restart', 'ssh.service') }) if $KERNEL;
}

# What a later boot finds; nothing where it was never told, or lost its power before all was on the disk.
sub kept {
    my $text = read_file($KEPT) // return;
    return eval { Understudy::Json::json_decode($text) };
}

sub apply_kept {
    my ($kept) = @_;
    Understudy::Kernel::set_hostname($kept->{hostname});
    Understudy::Kernel::set_cards($kept->{cards}, 1);
}

# What a template has of these, nobody needs; and a clone's are sooner made where there are none.
sub forget_files {
    unlink map { "$ROOT$_" } qw(/etc/hostname /etc/hosts /etc/machine-id /root/.ssh/authorized_keys), $HOST_KEY, "$HOST_KEY.pub";
}

# Its journald knows the template's machine id and would make its directory anew: so it stands still, in a clone from the
# first moment on, and is killed later, which makes systemd start one that reads the new id. What is logged meanwhile waits
# in its socket, and the connections of those who log are kept by systemd.
sub stop_journald {
    my @journald = Understudy::Kernel::processes('system.slice/systemd-journald.service');
    kill STOP => @journald;
    return @journald;
}

# What another machine, the template, has logged.
sub forget_journals {
    my ($machine_id) = @_;
    my $all = "$ROOT/run/log/journal";
    for my $old (grep { $_ ne $machine_id } directory_entries($all)) {
        unlink map { "$all/$old/$_" } directory_entries("$all/$old");
        rmdir "$all/$old";
    }
}

sub directory_entries {
    my ($path) = @_;
    opendir my $directory, $path or return;
    return grep { !/\A\.\.?\z/ } readdir $directory;
}

sub is_mounted { my ($device) = @_; return (read_file('/proc/mounts') // '') =~ /^\Q$device\E /m }

sub set_boot_id {
    my ($boot_id) = @_;
    my $file = '/run/understudy-boot-id';
    # In place where it is there, since it may be mounted.
    if (open my $there, '+<', $file) { syswrite $there, "$boot_id\n" }
    else { write_file($file, 0444, "$boot_id\n") }
    Understudy::Kernel::set_boot_id($boot_id, $file);
}

# Do something some seconds from now, or when the machine is shut down before that.
sub later { my ($what) = @_; push @LATER, [Understudy::Kernel::uptime() + $LATER, $what] }

# Do what is due; of all that was put off, if so told, since the machine ends. What fails is tried again.
sub do_due {
    my ($all) = @_;
    for my $each (splice @LATER) {
        my ($at, $what) = @$each;
        if (!$all && $at > Understudy::Kernel::uptime()) { push @LATER, $each; next }
        next if eval { $what->(); 1 };
        Understudy::Kernel::log_line("$@");
        later($what) unless $all;
    }
}

# Start a program; its end is nobody's concern.
sub start_program {
    my (@command) = @_;
    my $pid = fork // return;
    return if $pid;
    exec { $command[0] } @command or Understudy::Kernel::call(231, 1);    # exit_group
}

1;
