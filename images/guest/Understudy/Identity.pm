# Putting an identity to work: at the first boot, at a later one, and in a clone that woke from a template's memory.
package Understudy::Identity;
use strict;
use warnings;
use Understudy::Json;
use Understudy::Kernel;

our $ROOT = '';      # prefix of all files; tests give a scratch directory
our $KERNEL = 1;     # whether the running kernel is changed too; not in tests
our $KEPT = '/etc/understudy/identity.json';

sub write_file {
    my ($path, $mode, $content) = @_;
    my $new = "$ROOT$path.understudy-new";
    unlink $new;
    my $before = umask(0777 & ~$mode);
    my $opened = sysopen my $file, $new, 0301, 0777;    # O_WRONLY, O_CREAT, O_EXCL: no moment with a wider mode
    umask $before;
    $opened or die "$path: cannot be written: $!\n";
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
    write_file('/etc/ssh/ssh_host_ed25519_key', 0600, $private);
    write_file('/etc/ssh/ssh_host_ed25519_key.pub', 0644, $public);
    mkdir "$ROOT/root/.ssh", 0700;
    write_file('/root/.ssh/authorized_keys', 0600, join '', map { "$_\n" } @{ $message->{authorized_keys} });
}

# What the next boot needs. Written last: where it stands, everything before it is on the disk. Of a template, nothing.
sub keep {
    my ($message) = @_;
    mkdir "$ROOT/etc/understudy", 0700;
    if (is_template($message)) { unlink "$ROOT$KEPT"; return }
    Understudy::Kernel::sync_disks() if $KERNEL;
    my %kept = map { $_ => $message->{$_} } qw(hostname cards);
    write_file($KEPT, 0600, Understudy::Json::json_encode(\%kept) . "\n");
    Understudy::Kernel::sync_disks() if $KERNEL;
}

# First boot, before systemd. The clock came from the machine's RTC, which is nearer than a message that waited.
sub apply_cold {
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

# A running machine, usually the just woken clone of a template. The random state is first, so that nothing is drawn from
# the template's; the network is last.
sub apply_warm {
    my ($message) = @_;
    if ($KERNEL) {
        Understudy::Kernel::reseed(Understudy::Kernel::decode_base64($message->{seed}));
        Understudy::Kernel::set_clock($message->{now});
        Understudy::Kernel::set_hostname($message->{hostname});
        set_boot_id($message->{boot_id}) if defined $message->{boot_id};
        Understudy::Kernel::attach_disk_again('vdb') if -e '/sys/block/vdb' && !is_mounted('/dev/vdb');
    }
    my @journald = $KERNEL ? Understudy::Kernel::processes('systemd-journal') : ();
    kill STOP => @journald;
    write_files($message);
    forget_journals($message->{machine_id});
    Understudy::Kernel::set_cards($message->{cards}, !is_template($message)) if $KERNEL;
    keep($message);
    end_later(4, @journald);    # later: whoever waits for SSH goes first, also beside other clones
}

sub apply_kept {
    my $kept = Understudy::Json::json_decode(read_file($KEPT));
    Understudy::Kernel::set_hostname($kept->{hostname});
    Understudy::Kernel::set_cards($kept->{cards}, 1);
}

# What another machine, the template, has written. Its journald knows the template's machine id and would make its directory
# anew: so it stands still from before this on, and is then killed, which makes systemd start one that reads the new id. What
# is logged meanwhile waits in its socket, and the connections of those who log are kept by systemd.
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

# Kill processes after some seconds. A child does it, so that the answer does not wait.
sub end_later {
    my ($seconds, @processes) = @_;
    my $pid = @processes ? fork : undef;
    return if !defined $pid || $pid;
    select undef, undef, undef, $seconds;
    kill KILL => @processes;
    Understudy::Kernel::call(231, 0);    # exit_group
}

# Start a program after some seconds; the answer is its number, and its end is nobody's concern.
sub start_program {
    my ($seconds, @command) = @_;
    my $pid = fork // return;
    return $pid if $pid;
    select undef, undef, undef, $seconds;
    exec { $command[0] } @command or Understudy::Kernel::call(231, 1);    # exit_group
}

1;
