# Makes what a machine was told hold: the host key that lies there is its only one, and cloud-init runs no more. What came
# with cloud-init's disk is forgotten. Arguments: HOSTNAME ADDRESS/PREFIX…
set -eu
name=$1
shift
complain() {
    echo "$1: see /var/log/cloud-init.log there" >&2
    exit 65
}
[ "$(uname -n | cut -d. -f1)" = "$name" ] || complain "cloud-init gave it the name $(uname -n)"
for address in "$@"; do
    ip -o -4 address show | grep -qF " $address " || complain "cloud-init did not give it the address $address"
done
for key in /etc/ssh/ssh_host_*; do
    case $key in
    */ssh_host_ed25519_key | */ssh_host_ed25519_key.pub) ;;
    *) rm -f -- "$key" ;;
    esac
done
if [ -d /etc/cloud ]; then touch /etc/cloud/cloud-init.disabled; fi
rm -rf -- /var/lib/cloud/instances /run/cloud-init/instance-data-sensitive.json
for unit in ssh.service sshd.service; do
    if systemctl is-active --quiet -- "$unit"; then systemctl reload-or-restart -- "$unit"; fi
done
