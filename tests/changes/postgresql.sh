#!/bin/bash
# Stands for systemctl on a machine with a store whose settings are changed: PostgreSQL is really told, the rest noted.
case "$*" in
*postgresql@*) exec /usr/bin/systemctl-stores "$@" ;;
*) exec /usr/bin/systemctl-changes "$@" ;;
esac
