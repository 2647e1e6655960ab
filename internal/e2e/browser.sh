#!/bin/sh
# browser.sh: makes sure that the end-to-end tests have a Chromium, and prints its path. As root on Debian or Ubuntu, as in
# CI, it installs a missing one.
set -eu

find_browser() { command -v chromium || command -v chromium-browser || command -v google-chrome; }

if ! find_browser; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo "browser.sh: there is no Chromium; as root: apt-get install chromium" >&2
		exit 1
	fi
	{
		apt-get update -qq
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium
	} >&2
	find_browser
fi
