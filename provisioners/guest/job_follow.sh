# Prints a job's output from its beginning until the job ends. Arguments: DIRECTORY
set -euo pipefail
exec tail --bytes=+1 --follow --sleep-interval=0.2 --pid="$(cat -- "$1/pid")" -- "$1/output"
