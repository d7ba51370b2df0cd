#!/bin/bash
# setup.sh - what makes a plain Debian 13 root the platform of opscase, apart from its packages.
#
# Runs as root inside the new root or container, never on a user's own system:
#   setup.sh before		before the packages are installed
#   setup.sh after HASH		after it; HASH names the recipe, ./dev compares it
set -euo pipefail

case "${1:-}" in
before)
	# Installing a server must not start it: tests start their own, on ports and folders of their own.
	printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
	chmod 755 /usr/sbin/policy-rc.d
	mkdir -p /etc/postgresql-common
	echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf
	# Nobody reads manuals in here.
	mkdir -p /etc/dpkg/dpkg.cfg.d /etc/apt/apt.conf.d
	cat > /etc/dpkg/dpkg.cfg.d/opscase <<-EOF
		path-exclude=/usr/share/doc/*
		path-include=/usr/share/doc/*/copyright
		path-exclude=/usr/share/man/*
		path-exclude=/usr/share/info/*
		path-exclude=/usr/share/locale/*
		path-exclude=/usr/share/lintian/*
		force-unsafe-io
		force-confold
	EOF
	cat > /etc/apt/apt.conf.d/90opscase <<-EOF
		APT::Install-Recommends "false";
		Acquire::Languages "none";
		Acquire::Retries "3";
	EOF
	;;
after)
	# PostgreSQL refuses to run as root.
	id opscase > /dev/null 2>&1 || useradd --create-home --shell /bin/bash --uid 1999 opscase
	# Folders on the way to the project and the caches are walked by that user too.
	chmod 755 /root
	mkdir -p /var/cache/opscase
	# The project belongs to whoever checked it out, which need not be whoever runs git in here.
	git config --system --replace-all safe.directory '*'
	[ -s /etc/machine-id ] || echo 00000000000000000000000000000001 > /etc/machine-id
	touch /etc/resolv.conf /etc/hosts
	rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb
	echo "${2:?the hash of the recipe}" > /etc/opscase-platform
	;;
*)
	echo "usage: setup.sh before | after HASH" >&2
	exit 64
	;;
esac
