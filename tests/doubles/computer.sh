# Becomes another computer that runs virtual machines: own processes, own network, own libvirt, own /run and
# /var/lib/understudy, over SSH. Argument: PLACE, a directory with all that it keeps. Started within new mount, process
# and network namespaces.
set -eu
place=$1
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
for own in /var/lib/libvirt /var/lib/understudy /var/cache/libvirt /var/log/libvirt /etc/libvirt; do
    mkdir -p "$place/disk$own" "$own"
    mount --bind "$place/disk$own" "$own"
done
chmod 0711 /var/lib/understudy /var/lib/libvirt
mkdir -p /run/sshd
virtlogd -d
libvirtd -d
exec /usr/sbin/sshd -D -E "$place/sshd.log" -f "$place/sshd_config"
