#!/usr/bin/env bash
# Unpacks Debian's etcd (etcd, etcdctl, etcdutl) into build/etcd, for the tests that compare a store with it. Nothing is
# installed, and apt's own state is left alone. SUITE=sid takes the one of another suite than trixie.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
suite="${SUITE:-trixie}"
target=build/etcd
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || {
  echo "etcd: apt-get and dpkg-deb are needed; without them the tests use the etcd that pip installs" >&2
  exit 1
}
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$work"/lists/partial "$work"/archives/partial "$work"/packages
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $suite main" >"$work/sources.list"
options=(-qq -o "Dir::Etc::sourcelist=$work/sources.list" -o "Dir::Etc::sourceparts=/dev/null"
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache::archives=$work/archives" -o "Dir::Cache::pkgcache="
  -o "Dir::Cache::srcpkgcache=" -o "Acquire::Languages=none" -o "Acquire::Retries=3" -o "APT::Sandbox::User=root")
apt-get "${options[@]}" update
(cd "$work/packages" && apt-get "${options[@]}" download etcd-server etcd-client)
rm -rf "$target"
mkdir -p "$target"
for package in "$work"/packages/*.deb; do
  dpkg-deb -x "$package" "$target"
done
"$target/usr/bin/etcd" --version | sed -n 1p
