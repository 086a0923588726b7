# Adds those lines to a server's pg_hba.conf that it has not, and prints it where there were any.
# Arguments: FILE LINES…
set -euo pipefail
file=$1
shift
rm -f -- "$file.understudy-new"
for line in "$@"; do
    if grep -qxFe "$line" -- "$file"; then continue; fi
    [ -e "$file.understudy-new" ] || cp --preserve=mode,ownership -- "$file" "$file.understudy-new"
    printf '%s\n' "$line" >>"$file.understudy-new"
done
[ -e "$file.understudy-new" ] || exit 0
sync -- "$file.understudy-new"
mv -fT -- "$file.understudy-new" "$file"
printf '%s\n' "$file"
