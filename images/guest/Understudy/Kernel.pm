# What is asked of the running kernel, without starting any program. Numbers are those of x86-64.
# Source: arch/x86/entry/syscalls/syscall_64.tbl, uapi/linux/{mount,random,sockios,if}.h of Linux 6.1.
package Understudy::Kernel;
use strict;
use warnings;

# perl passes numbers as numbers and strings as addresses, and wants them writable: so copies are given.
sub call {
    my ($number, @arguments) = @_;
    return syscall($number, @arguments) == 0;
}

sub mount_type {
    my ($type, $target, $data) = @_;
    return call(165, $type, $target, $type, 0, $data // '');
}

sub mount_run {    # as systemd does it: MS_NOSUID, MS_NODEV, MS_STRICTATIME
    return call(165, 'tmpfs', '/run', 'tmpfs', 2 | 4 | 1 << 24, 'mode=755,size=20%,nr_inodes=800k');
}

sub mount_disk {
    my ($device, $target) = @_;
    # MS_NOATIME. The kernel's own way is to write zeros into what the disk has grown by, while the machine runs.
    return call(165, $device, $target, 'ext4', 1024, 'noinit_itable');
}

sub mount_move { my ($from, $to) = @_; return call(165, $from, $to, '', 8192, '') }    # MS_MOVE

sub mount_bind { my ($from, $to) = @_; return call(165, $from, $to, '', 4096, '') }    # MS_BIND

sub change_root { my ($directory) = @_; return call(161, $directory) }

sub sync_disk {    # the system disk's file system
    open my $root, '<', '/' or return;
    return call(306, fileno $root);    # syncfs
}

sub power_off { return call(169, 0xfee1dead, 672274793, 0x4321fedc, 0) }    # reboot(LINUX_REBOOT_CMD_POWER_OFF)

sub load_driver {
    my ($path) = @_;
    open my $file, '<', $path or return 0;
    return call(313, fileno $file, '', 0);    # finit_module
}

sub set_hostname { my ($name) = @_; call(170, $name, length $name) or die "hostname: $!\n" }

sub set_clock {
    my ($now) = @_;
    my $seconds = int $now;
    call(227, 0, pack 'q q', $seconds, int(($now - $seconds) * 1e9)) or die "clock: $!\n";    # CLOCK_REALTIME
}

sub clock {
    my $time = "\0" x 16;
    syscall 228, 0, $time;    # clock_gettime, CLOCK_REALTIME
    my ($seconds, $nanoseconds) = unpack 'q q', $time;
    return sprintf '%d.%03d', $seconds, $nanoseconds / 1e6;
}

sub uptime {
    my $time = "\0" x 16;
    syscall 228, 1, $time;    # clock_gettime, CLOCK_MONOTONIC
    my ($seconds, $nanoseconds) = unpack 'q q', $time;
    return $seconds + $nanoseconds / 1e9;
}

sub make_pipe { my ($path) = @_; return call(133, $path, 010600, 0) }    # mknod, S_IFIFO

sub decode_base64 {
    my ($text) = @_;
    $text =~ tr{A-Za-z0-9+/}{}cd;
    $text =~ tr{A-Za-z0-9+/}{ -_};
    my $bytes = '';
    $bytes .= unpack 'u', chr(32 + int(length($1) * 3 / 4)) . $1 while $text =~ /(.{1,60})/gs;
    return $bytes;
}

# Mix bytes that nobody else has into the kernel's random state, and have it make new keys from it now.
sub reseed {
    my ($seed) = @_;
    open my $random, '+<', '/dev/urandom' or die "random state: $!\n";
    my $entropy = pack 'i i a*', 8 * length $seed, length $seed, $seed;
    ioctl $random, 0x40085203, $entropy or die "random state: entropy is refused: $!\n";    # RNDADDENTROPY
    ioctl $random, 0x5207, 0 or die "random state: reseeding is refused: $!\n";             # RNDRESEEDCRNG
}

sub set_boot_id {
    my ($boot_id, $file) = @_;
    my $target = '/proc/sys/kernel/random/boot_id';
    return if (Understudy::Identity::read_file($target) // '') eq "$boot_id\n";    # the mount of a template shows the file
    mount_bind($file, $target) or die "boot id: $!\n";
}

# --- Network cards ----------------------------------------------------------------------------------------------------

sub card_ioctl {
    my ($socket, $request, $device, $rest, $what) = @_;
    my $argument = pack 'a16 a24', $device, $rest;
    ioctl $socket, $request, $argument or die "$device: $what: $!\n";
}

sub inet_address { my ($address) = @_; return pack 'S n C4 x8', 2, 0, split /\./, $address }    # struct sockaddr_in

sub netmask { my ($prefix) = @_; return join '.', unpack 'C4', pack 'N', 0xffffffff << (32 - $prefix) & 0xffffffff }

# Give a card its MAC and address. It goes down first: a virtio card takes a new MAC only then.
sub set_card {
    my ($socket, $device, $card, $raise) = @_;
    card_ioctl($socket, 0x8914, $device, pack('s', 0), 'down');                                       # SIOCSIFFLAGS
    card_ioctl($socket, 0x8924, $device, pack('S H12', 1, $card->{mac} =~ tr/://dr), 'MAC');           # SIOCSIFHWADDR
    card_ioctl($socket, 0x8916, $device, inet_address($card->{address}), 'address');                   # SIOCSIFADDR
    card_ioctl($socket, 0x891c, $device, inet_address(netmask($card->{prefix})), 'netmask');           # SIOCSIFNETMASK
    card_ioctl($socket, 0x8914, $device, pack('s', $raise ? 0x1043 : 0), 'up');    # UP, BROADCAST, RUNNING, MULTICAST
}

# The first card is the control network's, the second the mirror's.
sub set_cards {
    my ($cards, $raise) = @_;
    socket my $socket, 2, 2, 0 or die "network: $!\n";
    set_card($socket, 'eth0', $cards->{control}, $raise);
    set_card($socket, 'eth1', $cards->{mirror}, $raise) if $cards->{mirror};
}

# --- Devices ----------------------------------------------------------------------------------------------------------

# The device of a class whose file has this content, such as the port with this name.
sub find_device {
    my ($class, $file, $content) = @_;
    opendir my $directory, "/sys/class/$class" or return;
    for my $entry (sort grep { !/\A\./ } readdir $directory) {
        open my $handle, '<', "/sys/class/$class/$entry/$file" or next;
        my $found = <$handle> // '';
        chomp $found;
        return $entry if $found eq $content;
    }
    return;
}

# The size of an ext4 file system on a device, of the device, and of a block, in bytes.
# Source: Documentation/filesystems/ext4/super.rst of Linux.
sub disk_sizes {
    my ($disk) = @_;
    open my $device, '<', "/dev/$disk" or return;
    sysseek $device, 1024, 0;
    my $count = sysread $device, my $block, 1024;
    return unless defined $count && $count == 1024 && unpack('x56 v', $block) == 0xef53;
    my ($low, $scale, $high) = (unpack('x4 V', $block), unpack('x24 V', $block), unpack('x336 V', $block));
    open my $size, '<', "/sys/block/$disk/size" or return;
    return (($high << 32 | $low) * (1024 << $scale), 512 * <$size>, 1024 << $scale);
}

# Have the kernel grow a mounted ext4 file system to so many blocks, which is all that resize2fs does to one.
sub grow_mounted {
    my ($directory, $blocks) = @_;
    open my $root, '<', $directory or return 0;
    return ioctl $root, 0x40086610, pack 'Q', $blocks;    # EXT4_IOC_RESIZE_FS
}

# Have the driver read a disk's size again: a clone's data disk may be larger than its template's.
sub attach_disk_again {
    my ($disk) = @_;
    my ($name) = (readlink "/sys/block/$disk/device" // '') =~ /(virtio[0-9]+)\z/ or return;
    for my $action (qw(unbind bind)) {
        open my $file, '>', "/sys/bus/virtio/drivers/virtio_blk/$action" or return;
        syswrite $file, $name;
    }
}

# The processes of a control group, such as a unit of systemd's.
sub processes {
    my ($group) = @_;
    return split ' ', Understudy::Identity::read_file("/sys/fs/cgroup/$group/cgroup.procs") // '';
}

sub write_setting {
    my ($path, $value) = @_;
    open my $file, '>', $path or return 0;
    return syswrite $file, $value;
}

# Critical, so that it is on the console of a machine that boots quietly.
sub log_line { my ($text) = @_; return write_setting('/dev/kmsg', "<2>understudy: $text\n") }

1;
