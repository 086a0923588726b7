# Says what a Puppet manifest or an Ansible playbook would change here, and changes nothing: its text, which comes on
# standard input, lies in memory meanwhile, for root alone, and the tool's own notes beside it.
# Arguments: KIND NAME. Ends with 3 where the tool is not installed.
set -eu
kind=$1 name=$2
case $kind in
ansible) program=ansible-playbook ;;
puppet) program=puppet ;;
*) exit 99 ;;
esac
PATH=$PATH:/opt/puppetlabs/bin
command -v "$program" >/dev/null || exit 3
umask 077
place=$(mktemp -d /run/understudy-try.XXXXXXXX)
trap 'rm -rf -- "$place"' EXIT
cat >"$place/$name"
export LC_ALL=C.UTF-8
case $kind in
puppet)
    puppet apply --noop --show_diff --color=false --reports=none --statedir="$place/state" --rundir="$place" \
        "$place/$name"
    ;;
ansible)
    export ANSIBLE_NOCOLOR=1 ANSIBLE_LOCAL_TEMP="$place" ANSIBLE_REMOTE_TMP="$place" ANSIBLE_HOME="$place"
    ansible-playbook --check --diff --connection local --inventory localhost, "$place/$name"
    ;;
esac
