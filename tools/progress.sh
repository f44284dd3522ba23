#!/usr/bin/env bash
# Runs pip or npm and shows short progress: in one line on a terminal, else one line now and then.
# Errors are shown at once; the exit status is that of the command.
set -o pipefail
[ -t 1 ] && terminal=yes || terminal=

show() {
	if [ "$terminal" ]; then printf '\r\033[K  %s' "$1"; else echo "  $1"; fi
}

run() {
	# npm writes to standard error what it fetches.
	if [ "$1" = npm ]; then "$@" 2>&1; else "$@"; fi
}

# While a step prints nothing.
while sleep 10 >/dev/null 2>&1; do show "$SECONDS seconds"; done &
trap 'kill $! 2>/dev/null; [ "$terminal" ] && printf "\r\033[K"' EXIT

count=0
run "$@" | while IFS= read -r line; do
	case $line in
	"Collecting "* | "npm http fetch "*)
		count=$((count + 1))
		if [ "$terminal" ] || [ $((count % 100)) = 1 ]; then show "$count fetched"; fi
		;;
	"Installing collected packages"*) show "All are fetched: putting them in place." ;;
	"npm error"*) printf '%s\n' "$line" >&2 ;;
	esac
done
