# Names those of these addresses that do not answer, a line each. Arguments: SECONDS DEVICE ADDRESS…
# An answer is a connection to SSH, or its refusal: either comes from the machine itself. One that drops such packets answers
# nevertheless where WireGuard has shaken hands with it: that comes before all filters of what is within.
set -uo pipefail
seconds=$1 device=$2
shift 2

# shaken ADDRESS: whether there has been a handshake with the peer that has it. Source: Linux, uapi/linux/wireguard.h and
# genetlink.h; `wg` asks the same, and machines do not have it.
shaken() {
    python3 - "$device" "$1" 2>/dev/null <<'PYTHON'
import socket
import struct
import sys


def attributes(data):
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        yield kind & 0x3FFF, data[4:length]
        data = data[max(4, (length + 3) & ~3) :]


def ask(line, family, flags, command, kind, text):
    value = text.encode() + b"\0"
    attribute = struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)
    body = struct.pack("=BBH", command, 1, 0) + attribute
    line.send(struct.pack("=IHHII", 16 + len(body), family, flags, 1, 0) + body)
    while True:
        data = line.recv(1 << 20)
        while data:
            length, kind = struct.unpack_from("=IH", data)
            if kind in (2, 3):  # an error, or the end
                return
            yield data[20:length]
            if not flags & 0x300:
                return
            data = data[(length + 3) & ~3 :]


line = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
line.settimeout(5)
(told,) = ask(line, 16, 1, 3, 2, "wireguard")
family = struct.unpack("=H", dict(attributes(told))[1])[0]
for message in ask(line, family, 0x301, 0, 2, sys.argv[1]):
    for kind, peers in attributes(message):
        for _, peer in attributes(peers) if kind == 8 else ():
            known = dict(attributes(peer))
            addresses = [dict(attributes(each)).get(2) for _, each in attributes(known.get(9, b""))]
            if socket.inet_aton(sys.argv[2]) in addresses and any(known.get(6, b"")):
                sys.exit(0)
sys.exit(1)
PYTHON
}

for address in "$@"; do
    until
        said=$(timeout 5 bash -c 'exec 3<>"/dev/tcp/$1/22"' - "$address" 2>&1) || [[ $said == *refused* ]]
    do
        if ((SECONDS >= seconds / 4)) && shaken "$address"; then break; fi
        if ((SECONDS >= seconds)); then
            echo "$address"
            break
        fi
        sleep 0.5
    done
done
