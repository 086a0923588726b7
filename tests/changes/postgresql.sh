#!/bin/bash
# Stands for systemctl on a machine with a store whose settings are changed: its server is really told, the rest noted.
case "$*" in
*postgresql@* | *mariadb.service*) exec /usr/bin/systemctl-stores "$@" ;;
*) exec /usr/bin/systemctl-changes "$@" ;;
esac
