# Becomes a machine of its own for SSH: this host's files under an overlay that is forgotten, own processes, own /run,
# the scratch files of SEED on top. Arguments: BOX SEED. Started in new mount and process namespaces.
set -eu
box=$1 seed=$2
mount --make-rprivate /
mount -t tmpfs tmpfs "$box"
mkdir "$box/upper" "$box/work" "$box/root"
cp -a "$seed/." "$box/upper/"
mount -t overlay overlay -o "lowerdir=/,upperdir=$box/upper,workdir=$box/work" "$box/root"
mount -t proc proc "$box/root/proc"
mount --rbind /dev "$box/root/dev"
mount -t tmpfs tmpfs "$box/root/run"
mount -t tmpfs tmpfs "$box/root/tmp"
mkdir "$box/root/run/sshd"
cat /proc/sys/kernel/random/uuid >"$box/root/run/boot_id" # another boot has another one
mount --bind "$box/root/run/boot_id" "$box/root/proc/sys/kernel/random/boot_id"
exec chroot "$box/root" /usr/sbin/sshd -D -E /run/sshd.log -f /etc/ssh/sshd_config.double
