#!/bin/bash
# The first boot of a machine at Google, whose Debian has no cloud-init: takes the controller's key and a host key that is
# good for the first contact from the machine's metadata. Later boots leave all as it is: the host key is another by then.
set -euo pipefail
done=/var/lib/understudy-guest/first-boot
[ ! -e "$done" ] || exit 0
attribute() {
    curl --fail --silent --show-error --retry 10 --retry-connrefused --header 'Metadata-Flavor: Google' \
        "http://169.254.169.254/computeMetadata/v1/instance/attributes/understudy-$1"
}
umask 077
mkdir -p -- "${done%/*}" /root/.ssh /etc/ssh/sshd_config.d
attribute authorized-key >/root/.ssh/authorized_keys
key=/etc/ssh/ssh_host_ed25519_key
attribute host-key >"$key.new"
ssh-keygen -y -f "$key.new" >"$key.pub.new"
for other in /etc/ssh/ssh_host_*; do
    case $other in
    *.new) ;;
    *) rm -f -- "$other" ;;
    esac
done
mv -fT -- "$key.new" "$key"
mv -fT -- "$key.pub.new" "$key.pub"
chmod 0644 "$key.pub"
# The image forbids root; the first value that sshd reads counts.
printf 'PermitRootLogin prohibit-password\nPasswordAuthentication no\n' >/etc/ssh/sshd_config.d/00-understudy.conf
systemctl restart ssh.service
: >"$done"
