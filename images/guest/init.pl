#!/usr/bin/perl
# The first process of the machine, in the initial RAM disk: load the few drivers that are needed, mount the system disk,
# read the machine's identity from the host and put it to work, leave a listener behind, and become systemd.
#
# It is one process from the kernel to systemd. Starting a program costs 60 ms and more under emulation, so none is started:
# no shell, no udev, no search for the root disk. And since all of it comes before systemd, everything on the machine starts
# with the right name, machine id and keys. It needs nothing but perl-base. images/README.md describes the messages.
use strict;
use warnings;
use Understudy::Channel;
use Understudy::Identity;
use Understudy::Kernel;

sub mount_kernel_files {
    Understudy::Kernel::mount_type('devtmpfs', '/dev');
    Understudy::Kernel::mount_type('proc', '/proc');
    Understudy::Kernel::mount_type('sysfs', '/sys');
    # Descriptors 0 to 2 are closed where there is no console; nothing else may get these numbers.
    open STDIN, '<', '/dev/null';
    open STDOUT, '>', '/dev/null';
    open STDERR, '>', '/dev/kmsg';
}

# Cards that appear later stay without IPv6, so that none of them says anything before it has its identity; and a card
# answers only for the address that is its own: nobody on the mirror network meets the control network's.
sub quieten_network {
    Understudy::Kernel::write_setting('/proc/sys/net/ipv6/conf/default/disable_ipv6', 1);
    Understudy::Kernel::write_setting('/proc/sys/net/ipv4/conf/all/arp_ignore', 1);
}

sub load_drivers {
    open my $order, '<', '/modules/order' or return;
    while (my $name = <$order>) {
        chomp $name;
        Understudy::Kernel::load_driver("/modules/$name") or Understudy::Kernel::log_line("driver $name: $!");
    }
}

sub enter_system_disk {
    for my $try (1 .. 1000) {
        last if Understudy::Kernel::mount_disk('/dev/vda', '/root');
        select undef, undef, undef, 0.01;
    }
    unless (-e '/root/etc') {
        Understudy::Kernel::log_line("the system disk /dev/vda cannot be mounted: $!");
        Understudy::Kernel::power_off();
    }
    Understudy::Kernel::mount_move("/$_", "/root/$_") for qw(dev proc sys);
    empty_ram_disk('/modules', '/usr/bin', '/usr/lib/x86_64-linux-gnu');
    chdir '/root';
    Understudy::Kernel::mount_move('/root', '/');
    Understudy::Kernel::change_root('.');
    chdir '/';
}

# The file system of a disk that is larger than the image's. Once, at the first boot; done before anything else starts.
sub grow_system_disk {
    my ($used, $there, $block) = Understudy::Kernel::disk_sizes('vda');
    return unless defined $used && $there - $used >= 1 << 24;
    Understudy::Kernel::grow_mounted('/', int($there / $block)) or Understudy::Kernel::log_line("the system disk stays small: $!");
}

# Its memory is given back; what this process still has open goes with it.
sub empty_ram_disk {
    for my $directory (@_) {
        opendir my $handle, $directory or next;
        unlink map { "$directory/$_" } grep { !/\A\./ } readdir $handle;
    }
}

# systemd listens for SSH on the control card, and believes in a card only when udev has announced it. udev starts later:
# so its record of that card is written here, in the form in which udev keeps it.
# Source: systemd 252, src/libsystemd/sd-device/device-private.c (device_update_db, device_tag).
sub announce_control_card {
    Understudy::Kernel::mount_run();
    my $index = Understudy::Identity::read_file('/sys/class/net/eth0/ifindex') or return;
    chomp $index;
    mkdir $_, 0755 for qw(/run/udev /run/udev/data /run/udev/tags /run/udev/tags/systemd);
    Understudy::Identity::write_file("/run/udev/data/n$index", 0644, "I:1\nE:SYSTEMD_ALIAS=/sys/subsystem/net/devices/eth0\nG:systemd\nQ:systemd\nV:1\n");
    Understudy::Identity::write_file("/run/udev/tags/systemd/n$index", 0444, '');
}

sub become_systemd {
    exec { '/lib/systemd/systemd' } '/sbin/init' or Understudy::Kernel::log_line("systemd cannot be started: $!");
    Understudy::Kernel::power_off();
}

sub prepare_machine {
    mount_kernel_files();
    quieten_network();
    load_drivers();
    enter_system_disk();
    grow_system_disk();
    my $port = Understudy::Channel::open_port(5);
    my $button = Understudy::Channel::open_button();
    my $kept = Understudy::Identity::kept();
    if ($kept) { Understudy::Identity::apply_kept($kept) }
    elsif ($port) { Understudy::Channel::first_identity($port, $button) }
    else { Understudy::Kernel::log_line('there is no port to the host: the machine stays without a name and keys') }
    announce_control_card();
    my $child = fork;
    return if !defined $child || $child;
    Understudy::Channel::listen_forever($port, $button);
    Understudy::Kernel::call(231, 0);    # exit_group
}

# Whatever fails, systemd is started: the first process must not end, and somebody may want to look.
unless (caller) {
    eval { prepare_machine(); 1 } or Understudy::Kernel::log_line("$@");
    become_systemd();
}
1;
