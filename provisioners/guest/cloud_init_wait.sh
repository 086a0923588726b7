# Waits until cloud-init, where it runs at all, has finished with this boot. Says every two seconds that it has not.
set -eu
while [ -e /run/cloud-init/enabled ] && [ ! -e /run/cloud-init/result.json ]; do
    echo waiting
    sleep 2
done
