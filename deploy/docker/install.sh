#!/bin/sh
# install.sh LOCK LEFT_OUT: what a lock names, but for the packages that the other file lists, into /opt/sightline,
# by hash and from wheels alone; and beside it an SBOM of what came to be there.
set -eu
awk 'NR == FNR { if ($1 != "#") left_out[$1]; next }
     /^[a-z0-9]/ { split($1, pin, "=="); skip = pin[1] in left_out }
     !skip' "$2" "$1" >/tmp/requirements.txt

pip_install() { # PREFIX REQUIREMENTS
  python -m venv --without-pip "$1"
  python -m pip --python "$1/bin/python" install --quiet --no-cache-dir --disable-pip-version-check --no-compile \
    --require-hashes --no-deps --only-binary :all: -r "$2"
}

pip_install /opt/sightline /tmp/requirements.txt
pip_install /opt/sbom locks/sbom.txt
/opt/sbom/bin/cyclonedx-py environment --of JSON -o /opt/sightline/sbom.cdx.json /opt/sightline/bin/python
deploy/docker/prune.sh /opt/sightline

# NVIDIA's packages have a folder each; the loader looks into one.
mkdir /opt/sightline/cuda
find /opt/sightline/lib -path '*/nvidia/*/lib/*.so*' -exec ln -s {} /opt/sightline/cuda/ \;
# A root file system that is read-only keeps no bytecode: without it every start would compile everything.
python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/sightline/lib
