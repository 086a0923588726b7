# Names those of these addresses that do not answer, a line each. Arguments: SECONDS DEVICE ADDRESS…
# An answer is a connection to SSH, or its refusal: either comes from the machine itself. One that drops such packets answers
# nevertheless where WireGuard has heard something: its handshakes come before all filters of what is within.
set -uo pipefail
seconds=$1 heard=/sys/class/net/$2/statistics/rx_bytes
shift 2
for address in "$@"; do
    until
        said=$(timeout 5 bash -c 'exec 3<>"/dev/tcp/$1/22"' - "$address" 2>&1) || [[ $said == *refused* ]]
    do
        if ((SECONDS >= seconds / 4)) && [ -e "$heard" ] && [ "$(<"$heard")" != 0 ]; then break; fi
        if ((SECONDS >= seconds)); then
            echo "$address"
            break
        fi
        sleep 0.5
    done
done
