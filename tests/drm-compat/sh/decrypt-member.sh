#!/bin/sh
# Prints what a member of a licence holds in clear, decrypted by openssl alone.
#
#   decrypt-member.sh LICENCE MEMBER KEY     MEMBER: as jq names it, such as .user.name; KEY: the user key in hex
set -eu
work=$(mktemp)
trap 'rm -f "$work"' EXIT
jq -re "$2" "$1" | base64 -d >"$work"
# The first 16 bytes are the initialisation vector.
tail -c +17 "$work" | openssl enc -d -aes-256-cbc -K "$3" -iv "$(head -c 16 "$work" | od -An -v -tx1 | tr -d ' \n')"
